# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh # prelude.sh stands before this
# The packages stay: others may need them by now, and what was there before is not known.
progress 500 "forgetting the base setup"
rm -f /etc/dpkg/dpkg.cfg.d/prvng /etc/apt/apt.conf.d/50prvng /var/lib/prvng/taskservs/os
