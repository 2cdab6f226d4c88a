/* SPDX-License-Identifier: Apache-2.0 */
/* balance.h: what `skep balance` asks about: each a struct verb's run(), operand 0 its own name. */
#ifndef SKEP_CLI_BALANCE_H
#define SKEP_CLI_BALANCE_H

#include "cli/cli.h"

int balance_why(const struct args *a, struct skep_err *err);
int balance_doctor(const struct args *a, struct skep_err *err);
int balance_plan(const struct args *a, struct skep_err *err);
int balance_packets(const struct args *a, struct skep_err *err);

#endif
