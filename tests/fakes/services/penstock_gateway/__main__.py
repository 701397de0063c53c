"""A gateway that answers "Paris." to everything."""

import os

import grpc
from fakes.inference_server import ScriptedInference, paris, pocket_model
from fakes.tiny_service import serve

from penstock.inference.v1 import inference_pb2_grpc


def add_to(server: grpc.Server) -> None:
    """Adds the scripted service."""
    scripted = ScriptedInference(script=paris(), models=[pocket_model()])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(scripted, server)


serve("gateway", os.environ["PENSTOCK_GATEWAY_BIND"], os.environ["PENSTOCK_GATEWAY_ADMIN_BIND"], add_to=add_to)
