/* The only file that reads a clock. */
#ifndef KEYROLL_COMMON_CLK_H
#define KEYROLL_COMMON_CLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t clk_wall_ms(void); /* CLOCK_REALTIME, milliseconds since 1970 UTC */
int64_t clk_boot_ms(void); /* CLOCK_BOOTTIME, milliseconds since boot, suspend included */

enum clk_policy { CLK_POLICY_AUTO, CLK_POLICY_ASSUME_VALID, CLK_POLICY_N_ };

/* Whether what adjtimex(2) returned and its status say that the kernel's clock is kept in step by NTP. */
bool clk_synchronised(int state, int status);
/* Whether certificates may be judged by the wall clock now: always under assume-valid, else when the kernel
 * says that it is synchronised (adjtimex(2): state not TIME_ERROR and STA_UNSYNC clear). */
bool clk_trusted(enum clk_policy policy);

#define CLK_RFC3339_BYTES 32
/* "2026-11-23T23:34:25Z"; out holds CLK_RFC3339_BYTES. Years above 9999 are clamped. */
const char *clk_rfc3339(int64_t wall_sec, char out[CLK_RFC3339_BYTES]);
/* The reverse of it. 0, or -EINVAL. */
int clk_rfc3339_parse(const char *text, int64_t *ret_sec);

#endif
