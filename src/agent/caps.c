// SPDX-License-Identifier: Apache-2.0
/* Nothing else stands here, so that a test can bring its own list. */
#include "cap/cap.h"

const struct cap_ops *const cap_all[] = {&guard_ops, &trace_ops, &balance_ops, NULL};
