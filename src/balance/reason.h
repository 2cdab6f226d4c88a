/* SPDX-License-Identifier: Apache-2.0 */
/* reason.h: reasons and verdicts of packets in words. */
#ifndef SKEP_BALANCE_REASON_H
#define SKEP_BALANCE_REASON_H

#include <stdint.h>

/** reason_name() - of enum balance_reason, as in JSON, metrics and tables. "?" for what is none. */
const char *reason_name(uint32_t reason);
/** reason_doc() - the same in a sentence. */
const char *reason_doc(uint32_t reason);
/** reason_verdict() - of enum xdp_action: "drop", "pass", "tx" ... */
const char *reason_verdict(uint32_t action);

#endif
