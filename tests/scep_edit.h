/* Breaks exactly one thing in a DER message. */
#ifndef KEYROLL_TESTS_SCEP_EDIT_H
#define KEYROLL_TESTS_SCEP_EDIT_H

#include "scep/scep_internal.h"

enum edit {
	EDIT_REPLACE, /* the value by these bytes */
	EDIT_AFTER,   /* these bytes follow the value */
	EDIT_APPEND,  /* these bytes become the value's last child, or the end of a primitive's body */
	EDIT_TWICE,   /* the value stands there twice */
	EDIT_DELETE,
	EDIT_RETAG,   /* first byte becomes bytes[0] */
	EDIT_INDEFINITE, /* BER: indefinite length; a primitive is cut in two pieces. The message is no DER any more: the last edit */
};

/* path: "1.0.4" is root's child 1, its child 0, its child 4; "" the root. 0 or -1: no such place. in and ret may be the same. */
int edit_at(const struct buf *in, const char *path, enum edit op, const void *bytes, size_t len, struct buf *ret) CHECKED;

#endif
