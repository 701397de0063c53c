"""A replica: one loaded model behind `WorkerService`."""
