/* Times for people: see text.h. */
#include "pkictl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/clk.h"

static const struct {
	const char *word;
	int64_t sec;
} units[] = { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };

const char *text_left(int64_t ms, char out[TEXT_LEFT_BYTES])
{
	const char *sign = ms < 0 ? "-" : "";
	int64_t sec = ms < 0 ? -(ms / 1000) : ms / 1000, rest;
	size_t i = 0;

	while (i < 3 && sec < units[i].sec)
		i++;
	rest = sec % units[i].sec;
	if (i == 3 || rest < units[i + 1].sec)
		(void) snprintf(out, TEXT_LEFT_BYTES, "%s%" PRId64 " %s", sec ? sign : "", sec / units[i].sec, units[i].word); /* fits */
	else
		(void) snprintf(out, TEXT_LEFT_BYTES, "%s%" PRId64 " %s %" PRId64 " %s", sign, sec / units[i].sec, units[i].word,
				rest / units[i + 1].sec, units[i + 1].word); /* fits */
	return out;
}

static bool local_time(int64_t sec, struct tm *ret)
{
	time_t t = (time_t) sec;

	return localtime_r(&t, ret) != NULL;
}

const char *text_at(int64_t at_sec, int64_t now_sec, bool exact, char out[TEXT_AT_BYTES])
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	int64_t away = at_sec > now_sec ? at_sec - now_sec : now_sec - at_sec;
	char seconds[16] = "", date[40] = "";
	struct tm tm = { 0 };

	if (!local_time(at_sec, &tm)) {
		(void) snprintf(out, TEXT_AT_BYTES, "?"); /* no such year */
		return out;
	}
	if (away < 86400 || (exact && tm.tm_sec != 0))
		(void) snprintf(seconds, sizeof(seconds), ":%02d", tm.tm_sec % 100); /* fits */
	if (away >= 86400)
		(void) snprintf(date, sizeof(date), "%04d-%02d-%02d ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday); /* fits */
	(void) snprintf(out, TEXT_AT_BYTES, "%s %s%02d:%02d%s%s", days[tm.tm_wday % 7], date, tm.tm_hour, tm.tm_min, seconds,
			exact ? "!" : ""); /* fits */
	return out;
}

const char *text_when(const char *rfc3339, char out[TEXT_AT_BYTES])
{
	struct tm tm = { 0 };
	int64_t sec;

	if (clk_rfc3339_parse(rfc3339, &sec) < 0 || !local_time(sec, &tm))
		(void) snprintf(out, TEXT_AT_BYTES, "%s", rfc3339); /* cut is fine */
	else
		(void) snprintf(out, TEXT_AT_BYTES, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
				tm.tm_min, tm.tm_sec); /* fits */
	return out;
}
