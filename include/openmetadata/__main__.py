"""The tasks of the DAG openmetadata_mlflow from the command line: ``make ingest``.

``python -m include.openmetadata WORKFLOW COMPLETION``, with the connector's Python: a workflow file, and the arguments
of ``complete`` as JSON. Logins and addresses come from the environment.
"""

import json
import sys

from include.openmetadata.completion import complete
from include.openmetadata.connector import ingest
from include.openmetadata.workflow import CatalogueError

if __name__ == "__main__":
    workflow, completion = sys.argv[1:]
    try:
        complete(workflow, ingest(workflow)["sent"], **json.loads(completion))
    except CatalogueError as error:
        sys.exit(str(error))
