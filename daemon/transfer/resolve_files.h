/* Says when the files that names are resolved by have changed: resolv.conf and /etc/hosts. */
#pragma once

struct loop;
struct resolve_files;

/* `changed` is called soon after the last of several changes. `resolv_conf` NULL: /etc/resolv.conf. */
int resolve_files_new(struct loop *l, const char *resolv_conf, void (*changed)(void *arg),
        void *arg, struct resolve_files **ret);
struct resolve_files *resolve_files_free(struct resolve_files *f);
