# Airflow for `astro dev start` and `astro deploy`. The Astro Runtime's own build steps install packages.txt and
# requirements.txt, then copy the project to /usr/local/airflow. Its version stands here and nowhere else.
FROM astrocrpublic.azurecr.io/runtime:3.3-8

# The DAGs import the MLflow provider in place; installed as well, it gives Airflow its connection type. The project is
# copied as root, and installing writes beside it.
USER root
RUN python -m pip install --no-cache-dir --no-deps --editable /usr/local/airflow/include/mlflow_provider \
    && mkdir -p /usr/local/airflow/include/plots \
    && chown -R astro /usr/local/airflow/include/plots

# OpenMetadata's connector for the DAG openmetadata_mlflow, an environment of its own under a licence of its own:
# docs/openmetadata.md. Built if there is a 1 here; the Astro CLI passes no build arguments on.
ARG OPENMETADATA=0
ENV OPENMETADATA_PYTHON=/opt/openmetadata/bin/python
RUN if [ "$OPENMETADATA" = 1 ]; then \
      uv venv --python "$(command -v python)" /opt/openmetadata \
      && uv pip install --no-cache --require-hashes --python /opt/openmetadata \
        --requirements /usr/local/airflow/local/requirements/openmetadata.txt; \
    fi
USER astro
