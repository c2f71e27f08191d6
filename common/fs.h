/* Files that a power cut leaves old or new, never half: temporary, fsync, rename, fsync of the folder. */
#ifndef KEYROLL_COMMON_FS_H
#define KEYROLL_COMMON_FS_H

#include <stddef.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"

/* Every program's --root=DIR: prefixes /etc, /var/lib and /run. Called once, before any thread. "" or NULL: none. */
int fs_set_root(const char *root, struct err *reterr) CHECKED;
const char *fs_root(void); /* "" when there is none; never ends in '/' */
/* "<root>" followed by the formatted absolute path. Owned by the caller; NULL: out of memory. */
char *fs_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Reads a whole regular file of at most max bytes. -ENOENT, -EFBIG, -EACCES, -EISDIR, ... b keeps its secret flag. */
int fs_read(const char *path, size_t max, struct buf *b, struct err *reterr) CHECKED;
/* Replaces path atomically and durably. The folder must exist. -ENOSPC, -EROFS, -EACCES, -EIO, ... */
int fs_write(const char *path, const void *data, size_t len, mode_t mode, struct err *reterr) CHECKED;
/* mkdir -p of all parts; the last gets mode. Existing is fine. */
int fs_mkdir(const char *path, mode_t mode, struct err *reterr) CHECKED;
/* unlink and fsync of the folder; -ENOENT is success. */
int fs_remove(const char *path, struct err *reterr) CHECKED;
/* Removes a folder and all in it; does not follow links; missing is success. */
int fs_remove_tree(const char *path, struct err *reterr) CHECKED;
/* Makes path a symbolic link to target in one rename, durably. */
int fs_link_switch(const char *path, const char *target, struct err *reterr) CHECKED;
/* fsync of a folder, so that renames in it are durable. */
int fs_sync_folder(const char *path, struct err *reterr) CHECKED;
/* Removes the temporaries that a crash left in a folder (our own naming pattern only). */
void fs_sweep(const char *folder);

#endif
