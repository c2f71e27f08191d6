/* Scope-bound cleanup. A variable declared AUTO(name) is released when it goes out of scope; TAKE hands it over. */
#ifndef KEYROLL_COMMON_AUTO_H
#define KEYROLL_COMMON_AUTO_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO_DEFINE(name, type, release)                                                           \
	static inline void auto_##name(type *p)                                                    \
	{                                                                                          \
		if (*p)                                                                            \
			release(*p);                                                               \
	}                                                                                          \
	struct auto_##name##_semicolon_
#define AUTO(name) __attribute__((cleanup(auto_##name)))
#define TAKE(p)                                                                                    \
	__extension__({                                                                            \
		__typeof__(p) *take_src_ = &(p);                                                   \
		__typeof__(p) take_val_ = *take_src_;                                              \
		*take_src_ = NULL;                                                                 \
		take_val_;                                                                         \
	})
#define TAKE_FD(p)                                                                                 \
	__extension__({                                                                            \
		int *take_src_ = &(p);                                                             \
		int take_val_ = *take_src_;                                                        \
		*take_src_ = -1;                                                                   \
		take_val_;                                                                         \
	})

#define CHECKED __attribute__((warn_unused_result))

static inline void auto_fd(int *p)
{
	if (*p >= 0)
		(void) close(*p); /* read side, or already fsynced */
}
static inline void auto_mem(void *p)
{
	free(*(void **) p);
}
AUTO_DEFINE(file, FILE *, (void) fclose);
AUTO_DEFINE(dir, DIR *, (void) closedir);

#endif
