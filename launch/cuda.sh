# To be sourced by launch/install.sh: which extra of setup.py the NVIDIA driver needs.

# Prints `cuda13` if the driver supports CUDA 13, `cuda` for an older driver, and nothing
# if no driver is found. NVIDIA_DRIVER_FILE is where the kernel says the version.
cuda_extra() {
  local driver="${NVIDIA_DRIVER_FILE:-/proc/driver/nvidia/version}" said="" major=""
  said="$(nvidia-smi 2>/dev/null)" || said=""
  if [[ "$said" =~ CUDA\ [A-Z\ ]*Version:\ *([0-9]+)\. ]]; then
    major="${BASH_REMATCH[1]}"
  elif [[ -r "$driver" && "$(<"$driver")" =~ \ ([0-9]{3,4})\.[0-9]+ ]]; then
    # Without nvidia-smi the driver's own version decides: 580 brought CUDA 13.
    if [ "${BASH_REMATCH[1]}" -ge 580 ]; then major=13; else major=12; fi
  elif [ -e "$driver" ] || command -v nvidia-smi >/dev/null 2>&1; then
    major=12
  fi
  if [ -z "$major" ]; then return; fi
  if [ "$major" -ge 13 ]; then echo cuda13; else echo cuda; fi
}
