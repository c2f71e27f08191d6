/* What tests/secrets.sh puts before keystore/pad.c: a mask that MemorySanitizer takes for undefined. */
#include <sanitizer/msan_interface.h>
#include <stddef.h>

static inline size_t secret_mask(size_t mask)
{
	__msan_poison(&mask, sizeof(mask));
	return mask;
}
