/* Any bytes as a state file: refused or read, and what is read is written back to what reads the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(record) struct record first = { .boot_id = "" };
	AUTO(record) struct record second = { .boot_id = "" };
	AUTO(buf) struct buf text = BUF_SECRET;

	if (state_parse((const char *) data, len, &first, NULL) < 0)
		return 0;
	if (state_build(&first, &text, NULL) < 0)
		return 0;
	assert(state_parse((const char *) text.data, text.len, &second, NULL) == 0);
	assert(second.state.stage == first.state.stage && second.generation == first.generation);
	return 0;
}
