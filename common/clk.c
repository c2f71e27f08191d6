/* The clocks, and their text: see clk.h. */
#include "common/clk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#define YEAR_1_SEC (-62135596800LL)
#define YEAR_9999_SEC 253402300799LL /* its last second */

static int64_t clock_ms(clockid_t which)
{
	struct timespec t = { 0 };

	(void) clock_gettime(which, &t); /* fails for an unknown clock or a bad pointer only */
	return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clk_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t clk_boot_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

bool clk_synchronised(int state, int status)
{
	return state >= 0 && state != TIME_ERROR && !(status & STA_UNSYNC);
}

bool clk_trusted(enum clk_policy policy)
{
	struct timex status = { .modes = 0 };
	int state;

	if (policy == CLK_POLICY_ASSUME_VALID)
		return true;
	state = adjtimex(&status);
	return clk_synchronised(state, status.status);
}

const char *clk_rfc3339(int64_t wall_sec, char out[CLK_RFC3339_BYTES])
{
	struct tm tm = { 0 };
	time_t t;

	if (wall_sec < YEAR_1_SEC)
		wall_sec = YEAR_1_SEC;
	if (wall_sec > YEAR_9999_SEC)
		wall_sec = YEAR_9999_SEC;
	t = (time_t) wall_sec;
	(void) gmtime_r(&t, &tm); /* cannot fail between the years 1 and 9999 */
	(void) snprintf(out, CLK_RFC3339_BYTES, "%04u-%02u-%02uT%02u:%02u:%02uZ", (tm.tm_year + 1900U) % 10000U,
			(tm.tm_mon + 1U) % 100U, tm.tm_mday % 100U, tm.tm_hour % 100U, tm.tm_min % 100U, tm.tm_sec % 100U);
	return out;
}

static bool digits_ok(const char *text)
{
	static const char shape[] = "0000-00-00T00:00:00Z";
	size_t i;

	if (strlen(text) != sizeof(shape) - 1)
		return false;
	for (i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == '0' ? (text[i] < '0' || text[i] > '9') : text[i] != shape[i])
			return false;
	return true;
}

int clk_rfc3339_parse(const char *text, int64_t *ret_sec)
{
	char again[CLK_RFC3339_BYTES];
	struct tm tm = { 0 };
	int64_t sec;

	if (!digits_ok(text))
		return -EINVAL;
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	sec = (int64_t) timegm(&tm);
	/* timegm takes 30 February for 1 March; printing it again shows that */
	if (strcmp(clk_rfc3339(sec, again), text) != 0)
		return -EINVAL;
	*ret_sec = sec;
	return 0;
}
