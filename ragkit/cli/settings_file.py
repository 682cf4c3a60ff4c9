"""The commented settings file that `ragkit init` writes."""

from __future__ import annotations

COMMENTED = """\
# Settings of ragkit. Each may also be given as RAGKIT_NAME or as a flag; the flag wins.
# What reaches the network, names a variable or leaves this folder needs: ragkit trust FILE

# store = "./kb"              # or opensearch:https://HOST/INDEX, kendra:ID, bedrock-kb:ID

# How documents are chunked and embedded: fixed at the first ingest, changed by `ragkit rebuild`.
# embedder = "builtin"        # builtin | none | KIND:MODEL, see the README
# chunker = "recursive"       # recursive | sentence | tokens | markdown | whole
# chunk_tokens = 400
# chunk_overlap = 0
# embed_title = false
# sentence_vectors = true
# sentence_vector_kind = "short"

# How chunks are retrieved.
# mode = "hybrid"             # dense | lexical | hybrid
# fusion = "convex"           # convex | rrf
# k = 20

# How the context is trimmed, and when ragkit refuses to answer.
# trim = "trim.json"          # bundled | tight | off | a trim policy
# trim_level = 0.1            # 0 keeps only the best sentence, 1 the whole pool
# refuse_below = "0.5"        # lowest support with which to answer, 0 to 1, or "off"
# max_context_tokens = 1000
# placement = "document"      # document | best_last | best_first
# rewrite = "off"             # off | generator: one more call for a follow-up
# max_history_tokens = 512

# Who answers.
# template = "default"        # default | guarded | a file
# max_tokens = 200
# temperature = 0.0
# top_p = 1.0
# top_k = 40
# stop = ["\\n\\n"]
# seed = 7
# profile = "standard"        # realtime | standard | flex | batch; ragkit advise tier

# What an answer costs. Carbon is unknown without a Region or a grid intensity of your own.
# ledger = "ledger.jsonl"     # or "off"
# keep_question = false       # keep each question's text in the ledger, for feedback
# ledger_part_bytes = 67108864   # a larger ledger goes on in a new file; 0: never
# model_billions = 8.0        # active parameters of the model
# model_cards = "cards.json"  # cards of your own, before the bundled ones
# region = "eu-central-1"     # where answers are generated; ragkit advise region
# grid_g_per_kwh = [250.0, 300.0, 380.0]   # low, mid, high

# What hosts your index, booked by the second of each answer: one number of watts or low, mid, high.
# [hosting]
# watts = 120.0
# share = 0.25                # of the watts that this use accounts for, 0 to 1

# Settings of connectors go in tables: [store], [embedder], [reranker] and this one.
# [generator]
# type = "openai"             # openai | ollama | llamacpp | transformers | bedrock | sagemaker
# model = "qwen3-8b"
# base_url = "http://localhost:8080/v1"
# api_key_env = "OPENAI_API_KEY"
# timeout = 60.0              # seconds for a whole answer; streamed: for each part of it
# total_timeout = 300.0       # seconds for a whole streamed answer (default: none)

# Who may see which files, and how they are read; the first matching rule applies.
# [[ingest.rule]]
# glob = "hr/**"              # relative to the ingested folder, or to --root
# groups = ["hr", "board"]    # "public" is everybody
# metadata = { department = "HR" }
# url = "https://wiki.example/{page}/"   # where citations link to
# loader = "text"
# skip = false
"""
