# Everything that people and CI run. On a fresh machine: `make demo` (no Docker needed) and `make test`.
VENV := .venv
PY := $(VENV)/bin/python
TOOLS := build/tools
# What Python has compiled is kept, whatever the environment says: `make test` starts our own code by the hundred.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help environment tools demo loop explore train compare models adopt review requirements promote rollback history workshop schedule cleanup doctor backup restore serve apikey ui test fuzz unit integration stack browser killing bench benchtrainer benchserving benchlog benchbackup chaos soak lint site workflows types sbom audit configuration reference lock clean images release-check

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: ## make .venv from the hashed lock, where it is not there yet
	@scripts/environment $(VENV)

demo: environment ## without Docker: explore, train, register, promote, serve, predict
	@$(PY) scripts/embedded.py demo

loop: environment ## without Docker: a week of traffic with a drift in it, reports on it, and a version that is trained on what came back
	@$(PY) scripts/embedded.py loop

explore: environment ## without Docker: the data; ARGS="--dataset wine" and other options as in the container
train: environment ## without Docker: one more model version; ARGS="…"
compare: environment ## without Docker: algorithms on the same folds; ARGS="…"
models: environment ## without Docker: every registered model
adopt: environment ## without Docker: sign a version that was logged by hand, VERSION=N; one that runs code, ARGS=--allow-code
review: environment ## without Docker: check, sign and judge the version with the alias candidate; ARGS=VERSION
requirements: environment ## without Docker: the packages of a version that runs code, VERSION=N
promote: environment ## without Docker: put a version into Production, VERSION=N
rollback: environment ## without Docker: back to the version that was in Production before
history: environment ## without Docker: every move of Production, and why
workshop: environment ## without Docker: where you are in the guided tour, and the next step; ARGS="--language es"
schedule: environment ## without Docker: train by the clock and on drift, until Ctrl-C; TRAIN_SCHEDULE="…" TRAIN_ARGS="…"
cleanup: environment ## without Docker: what nobody needs any more; ARGS=--yes removes it
doctor: environment ## without Docker: what is wrong, or may soon be; ARGS=--json
backup: environment ## without Docker: an encrypted snapshot of embedded/, by restic
restore: environment ## without Docker: bring one back; ARGS=SNAPSHOT
serve: environment ## without Docker: the prediction service, until Ctrl-C
apikey: environment ## without Docker: API keys of that service; ARGS="add NAME", list, "revoke NAME", off
ui: environment ## without Docker: the MLflow UI, until Ctrl-C
explore train compare models review rollback history workshop schedule cleanup doctor backup restore serve apikey ui:
	@$(PY) scripts/embedded.py $@ $(ARGS)

adopt requirements promote:
	@$(if $(VERSION)$(ARGS),,$(error VERSION is missing, as in: make $@ VERSION=2))$(PY) scripts/embedded.py $@ $(VERSION) $(ARGS)

test: environment ## all tests that this machine can run, in three lanes side by side
	@scripts/test

unit: environment ## the functions, no server, and without what searches for inputs (`make fuzz`)
integration: environment ## our processes, pictures and models, with real MLflow on SQLite
stack: environment ## the compose file under Docker
browser: environment ## headless Chromium in the MLflow UI
unit:
	@$(PY) -m pytest tests/unit -m "not fuzz"

integration stack browser:
	@$(PY) -m pytest tests/$@

fuzz: environment ## whatever searches for inputs, 25 times as long as `make test`: an hour or more
	@FUZZ_TIMES=25 $(PY) -m pytest -m fuzz -s --timeout=7200 tests/unit tests/integration

killing: environment ## kill processes, and containers, 50 times each under load, and hold the prediction log against what was answered
	@KILL_ROUNDS=50 $(PY) -m pytest --timeout=3600 -s -k is_killed tests/integration/test_prediction_log.py tests/stack/test_kept_predictions.py

bench: environment ## measure all: the stack (needs Docker, wrk, root), the trainer, the prediction service
	@$(PY) benchmarks/run.py
	@$(PY) benchmarks/training.py
	@$(PY) benchmarks/serving.py

benchtrainer: environment ## measure the trainer beside a plain script, into benchmarks/training.md
	@$(PY) benchmarks/training.py

benchserving: environment ## measure the prediction service beside its peers, into benchmarks/serving.md (needs wrk)
	@$(PY) benchmarks/serving.py

benchlog: environment ## measure what the prediction log costs, into benchmarks/prediction-log.md (needs wrk)
	@$(PY) benchmarks/prediction_log.py

benchbackup: environment ## measure a backup beside pg_dump and a mirror, into benchmarks/backup.md (needs Docker, root)
	@$(PY) benchmarks/backup.py

images: environment ## where the megabytes of the images are, into benchmarks/images.md (needs Docker, and the images)
	@$(PY) benchmarks/images.py $(ARGS)

chaos: environment ## one fault after the other under load, into benchmarks/reliability.md (needs Docker, half an hour); ARGS=WORD, ARGS=list
	@PYTHONPATH=benchmarks $(PY) -m chaos $(ARGS)

soak: environment ## an hour of a little of everything, to see what grows, into benchmarks/soak.md (needs Docker, root); ARGS=MINUTES
	@$(PY) benchmarks/soak.py $(ARGS)

tools: ## make build/tools from its hashed lock: what looks at the project and is in no image
	@scripts/environment $(TOOLS) scripts/tools/requirements.txt

lint: environment tools ## style, common mistakes, and which room may import which; Dockerfiles, shell scripts, workflows
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && PYTHONPATH=services $(VENV)/bin/lint-imports
	@$(TOOLS)/bin/hadolint services/*/Dockerfile
	@$(TOOLS)/bin/shellcheck --external-sources $$(grep -rlE '^#!/.*sh$$|^# shellcheck shell=' .ci scripts services)
	@$(TOOLS)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(TOOLS)/bin/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	@$(TOOLS)/bin/check-jsonschema --quiet --builtin-schema vendor.renovate renovate.json
	@$(TOOLS)/bin/python scripts/website/build.py

site: tools ## the documentation as a site, into build/site; of a release, ARGS="--version 0.1.0 --into DIR"
	@$(TOOLS)/bin/python scripts/website/build.py $(ARGS)

workflows: ## the workflows, by actionlint (needs Go)
	@go -C scripts/tools tool actionlint $(CURDIR)/.github/workflows/*.yml

types: environment ## static types
	@$(VENV)/bin/mypy

sbom: tools ## what the images are made of, as CycloneDX, into build/sbom
	@scripts/sbom

release-check: environment ## what is missing for a release, before its tag; after its images, ARGS=--published
	@$(PY) scripts/release_check.py $(ARGS)

audit: tools ## known vulnerabilities of all that is locked; AUDIT_REQUIRED=1 fails where no database can be reached
	@$(TOOLS)/bin/python scripts/audit_packages.py

configuration: environment ## make docs/configuration.md from .env.example and the services' settings
	@$(PY) scripts/configuration.py

reference: environment ## make docs/commands.md and docs/api.md from the parsers and the OpenAPI document
	@$(PY) scripts/commands.py
	@$(PY) scripts/api.py

lock: environment ## resolve the packages anew, newest versions that fit
	@scripts/lock --upgrade

clean: ## remove what make made here: the environment and the embedded stack's data
	rm -rf $(VENV) embedded build data/exploration
