"""Which variables of the caller are recorded by value: an allow-list, because any other may be a secret.

The command gets all of them; the record names only these. They are the ones that change results or
explain a failure and are not used to carry credentials.
"""

import re
from collections.abc import Mapping

from labrun.capture.credentials import without_credentials_in

RECORDED = frozenset(
    {
        *("LANG", "LANGUAGE", "TZ", "PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX", "SOURCE_DATE_EPOCH"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "UV_PROJECT_ENVIRONMENT", "PYENV_VERSION"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONIOENCODING"),
        *("PYTHONNOUSERSITE", "PYTHONUSERBASE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS"),
        *("PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONSAFEPATH", "PYTHON_GIL", "PYTHON_JIT", "PYTHONFAULTHANDLER"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "CUDA_LAUNCH_BLOCKING"),
        *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS"),
        *("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "JULIA_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
        *("XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_DETERMINISTIC_OPS"),
        *("TF_FORCE_GPU_ALLOW_GROWTH", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL", "JAX_ENABLE_X64"),
        *("JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT", "PYTORCH_CUDA_ALLOC_CONF"),
        *("PYTORCH_ALLOC_CONF", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "MPLBACKEND", "HF_HUB_OFFLINE", "HF_HOME"),
        *("TRANSFORMERS_OFFLINE", "WANDB_MODE", "WORLD_SIZE", "RANK", "LOCAL_RANK"),
    }
)
"""Recorded by name."""
RECORDED_PREFIXES = ("LC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NCCL_")
"""Recorded by the beginning of the name."""
_NEVER = re.compile(r"(?i)token|secret|passw|key|credential|auth")
"""Stronger than a prefix."""
VALUE_LIMIT = 8192
"""Longest value recorded, in characters; a longer one is cut and says so."""


def recorded_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Choose the variables whose values go into the record; URLs in them lose their credentials.

    >>> recorded_variables({"OMP_NUM_THREADS": "4", "WANDB_API_KEY": "abc", "TZ": "UTC", "OMP_SECRET": "x"})
    {'OMP_NUM_THREADS': '4', 'TZ': 'UTC'}
    """
    found = {}
    for name, value in sorted(variables.items()):
        if name in RECORDED or (name.startswith(RECORDED_PREFIXES) and not _NEVER.search(name)):
            text = without_credentials_in(value)
            cut = f"… ({len(text):,} characters)" if len(text) > VALUE_LIMIT else ""
            found[name] = text[:VALUE_LIMIT] + cut
    return found
