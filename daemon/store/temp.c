#include <errno.h>
#include <stdlib.h>
#include "daemon/store/store.h"
void store_purge_done(struct store_purge *p) { free(p->ids); *p = (struct store_purge){ 0 }; }
int store_purge(struct store *s, const struct store_limits *l, struct store_purge *ret) { (void)s; (void)l; *ret = (struct store_purge){ 0 }; return 0; }
int store_backup(struct store *s, struct store_backup *ret) { (void)s; (void)ret; return -ENOSYS; }
