"""Generators and embedders behind Amazon SageMaker endpoints: `sagemaker:ENDPOINT`.

An endpoint passes on what its container is sent, so what to send is named by `payload`:

- `openai`: the chat interface of OpenAI, which vLLM and newer LMI containers speak;
- `tgi`: Text Generation Inference, `{"inputs", "parameters"}`;
- `lmi`: the rolling-batch schema of DJL LMI containers, which differs from it in names;
- `tei` (embedders): Text Embeddings Inference.

`tgi` and `lmi` send the prompt as it is: no chat template is put around it.

Limits and names of fields: Amazon SageMaker Runtime API reference, "InvokeEndpoint"; Text
Generation Inference, router/src/lib.rs and validation.rs; DJL Serving, "LMI handlers Inference API
Schema"; OpenAI API reference, "Create chat completion".
"""

from ragkit_connectors.sagemaker.embedder import EmbedderPayload, SageMakerEmbedder
from ragkit_connectors.sagemaker.generator import GeneratorPayload, SageMakerGenerator

__all__ = ["EmbedderPayload", "GeneratorPayload", "SageMakerEmbedder", "SageMakerGenerator"]
