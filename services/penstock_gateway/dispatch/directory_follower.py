"""What a new directory changes in this gateway, and the last one kept on disk."""

from concurrent.futures import ThreadPoolExecutor

from penstock_gateway.dispatch.demand import models_coming
from penstock_gateway.dispatch.directory_file import DirectoryFile
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.replica_pool import ReplicaPool
from penstock_gateway.models import ModelCatalog
from penstock_gateway.text.vocabulary import VocabularyStore
from penstock_shared.directory import Directory


class DirectoryFollower:
    """Hands each directory to those who go by it.

    Args:
        file: keeps the last one.
        models, vocabularies, dispatcher, pool: who go by it.
    """

    def __init__(
        self,
        file: DirectoryFile,
        *,
        models: ModelCatalog,
        vocabularies: VocabularyStore,
        dispatcher: Dispatcher,
        pool: ReplicaPool,
    ) -> None:
        self._file = file
        self._models = models
        self._vocabularies = vocabularies
        self._dispatcher = dispatcher
        self._pool = pool
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="directory")

    def restore(self) -> None:
        """Goes by the last directory of an earlier gateway, until the fleet is reached."""
        saved = self._file.load()
        if saved is not None:
            self._follow(saved)

    def take(self, directory: Directory) -> None:
        """Goes by a new one."""
        self._follow(directory)
        self._disk.submit(self._file.save, directory)

    def close(self) -> None:
        """Waits until the last one is on disk."""
        self._disk.shutdown()

    def _follow(self, directory: Directory) -> None:
        self._models.update(directory)
        self._vocabularies.keep_only(directory.all_revisions)
        self._dispatcher.expect(models_coming(directory))
        self._pool.update(directory)
