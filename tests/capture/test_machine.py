import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labrun.capture.machine import machine
from labrun.capture.readings import Readings

NVML = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned int flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { strcpy(text, "550.54.15"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *number) { *number = 12040; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **handle) { *handle = (void *)(unsigned long)(i + 1); return 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned int size) { strcpy(text, "Fake H100"); return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned int size) { strcpy(text, "GPU-0"); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory *found) {
    if (device == (void *)2) return 3; /* not supported, as on devices that share the host's memory */
    found->total = 85899345920ULL; return 0;
}
"""


def test_this_machine_is_described() -> None:
    found = machine(Readings())
    assert found.host == os.uname().nodename
    assert found.kernel == os.uname().release
    assert found.cpus == os.cpu_count()
    assert found.memory_bytes > 0
    assert found.cpu_model


@pytest.mark.parametrize(
    ("files", "system", "cpu"),
    [
        (
            {
                "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian 12"\n',
                "proc/cpuinfo": "processor : 0\nmodel name\t: A  B\n",
            },
            "Debian 12",
            "A B",
        ),
        ({"usr/lib/os-release": "NAME=Void\nVERSION_ID=7\n", "proc/cpuinfo": "cpu : POWER9\n"}, "Void 7", "POWER9"),
        ({"proc/cpuinfo": "processor : 0\n", "proc/device-tree/model": "A Board\0"}, os.uname().sysname, "A Board"),
    ],
)
def test_distribution_and_processor_are_read_from_where_they_are(
    tmp_path: Path, files: dict[str, str], system: str, cpu: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = machine(Readings(), tmp_path)
    assert (found.system, found.cpu_model) == (system, cpu)


def test_without_a_driver_there_is_no_gpu(tmp_path: Path) -> None:
    if ctypes.util.find_library("nvidia-ml"):
        pytest.skip("this machine has a driver")
    found = machine(Readings(), tmp_path)
    assert (found.gpus, found.gpu_driver, found.cuda_version) == ((), None, None)


def test_gpus_driver_and_cuda_come_from_the_drivers_library(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build a stand-in for the driver's library with")
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvml.c")], check=True)
    code = (
        "import msgspec; from labrun.capture.machine import machine; from labrun.capture.readings import Readings;"
        "print(msgspec.json.encode(machine(Readings())).decode())"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert (found["gpu_driver"], found["cuda_version"]) == ("550.54.15", "12.4")
    assert found["gpus"] == [
        {"index": 0, "model": "Fake H100", "memory_bytes": 85899345920, "uuid": "GPU-0"},
        {"index": 1, "model": "Fake H100", "memory_bytes": 0, "uuid": "GPU-0"},
    ]
