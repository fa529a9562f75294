# Airflow for `astro dev start` and `astro deploy`. The Astro Runtime's own build steps install packages.txt and
# requirements.txt, then copy the project to /usr/local/airflow. Its version is set only here.
FROM astrocrpublic.azurecr.io/runtime:3.3-8

# The DAGs import the MLflow provider in place; installing it adds its connection type to Airflow. The packages belong to
# root, the project to astro, who also writes the pictures and the environments of models (a volume, which gets this
# folder's owner).
USER root
RUN python -m pip install --no-cache-dir --no-deps --editable /usr/local/airflow/include/mlflow_provider \
    && install -d -o astro /usr/local/airflow/include/plots /usr/local/airflow/model_environments

# Each container would compile the packages' modules again at each start, because its user cannot write beside them.
RUN python -m compileall -q -j 0 "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# OpenMetadata's connector for the DAG openmetadata_mlflow, in a separate environment because of its packages and its
# licence: docs/openmetadata.md. Set to 1 here to build it; the Astro CLI passes no build arguments.
ARG OPENMETADATA=0
ENV OPENMETADATA_PYTHON=/opt/openmetadata/bin/python
RUN if [ "$OPENMETADATA" = 1 ]; then \
      uv venv --python "$(command -v python)" /opt/openmetadata \
      && uv pip install --no-cache --require-hashes --python /opt/openmetadata \
        --requirements /usr/local/airflow/local/requirements/openmetadata.txt; \
    fi
USER astro
