/* The words of slots and levels, for people and for files. */
#include <assert.h>

#include "keystore/ks.h"

static const char *const slot_names[] = { "active", "shadow", "previous" };
static_assert(sizeof(slot_names) / sizeof(slot_names[0]) == KS_SLOT_N_, "a name for each slot");

const char *const ks_protection_words[] = { "auto", "kernel", "token", "keyring", NULL };
static_assert(sizeof(ks_protection_words) / sizeof(ks_protection_words[0]) == KS_PROTECTION_N_ + 1, "a name for each level");

const char *ks_slot_name(enum ks_slot slot)
{
	return slot < KS_SLOT_N_ ? slot_names[slot] : "?";
}

const char *ks_protection_name(enum ks_protection p)
{
	return p < KS_PROTECTION_N_ ? ks_protection_words[p] : "?";
}
