/* libdw by dlopen(): 2 MB of it and of what it needs are then no burden to those who never look. */
#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/debuginfo_libdw.h"

#define LIBRARY "libdw.so.1"

/* What is called of the library: its name there is that of the field. */
struct libdw {
    __typeof__(dwfl_begin) *dwfl_begin;
    __typeof__(dwfl_linux_proc_report) *dwfl_linux_proc_report;
    __typeof__(dwfl_report_end) *dwfl_report_end;
    __typeof__(dwfl_linux_proc_find_elf) *dwfl_linux_proc_find_elf;
    __typeof__(dwfl_build_id_find_debuginfo) *dwfl_build_id_find_debuginfo;
    __typeof__(dwfl_addrmodule) *dwfl_addrmodule;
    __typeof__(dwfl_module_addrinfo) *dwfl_module_addrinfo;
    __typeof__(dwfl_module_addrdie) *dwfl_module_addrdie;
    __typeof__(dwfl_module_getsrc) *dwfl_module_getsrc;
    __typeof__(dwfl_lineinfo) *dwfl_lineinfo;
    __typeof__(dwarf_getscopes) *dwarf_getscopes;
    __typeof__(dwarf_getscopes_die) *dwarf_getscopes_die;
    __typeof__(dwarf_diename) *dwarf_diename;
    __typeof__(dwarf_tag) *dwarf_tag;
    __typeof__(dwarf_attr) *dwarf_attr;
    __typeof__(dwarf_formudata) *dwarf_formudata;
    __typeof__(dwarf_getsrcfiles) *dwarf_getsrcfiles;
    __typeof__(dwarf_filesrc) *dwarf_filesrc;
};

struct debuginfo_libdw {
    struct libdw dw;
    Dwfl_Callbacks callbacks;
    Dwfl *dwfl;
};

static bool library_open(struct libdw *dw)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

#define LOAD(name) (dw->name = (__typeof__(dw->name))dlsym(library, #name))
    return library && LOAD(dwfl_begin) && LOAD(dwfl_linux_proc_report) && LOAD(dwfl_report_end) &&
           LOAD(dwfl_linux_proc_find_elf) && LOAD(dwfl_build_id_find_debuginfo) &&
           LOAD(dwfl_addrmodule) && LOAD(dwfl_module_addrinfo) && LOAD(dwfl_module_addrdie) &&
           LOAD(dwfl_module_getsrc) && LOAD(dwfl_lineinfo) && LOAD(dwarf_getscopes) &&
           LOAD(dwarf_getscopes_die) && LOAD(dwarf_diename) && LOAD(dwarf_tag) &&
           LOAD(dwarf_attr) && LOAD(dwarf_formudata) && LOAD(dwarf_getsrcfiles) &&
           LOAD(dwarf_filesrc);
#undef LOAD
}

/* By build id, from files: the standard search would ask debuginfod. */
static bool dwfl_open(struct debuginfo_libdw *d)
{
    d->callbacks = (Dwfl_Callbacks){ .find_elf = d->dw.dwfl_linux_proc_find_elf,
        .find_debuginfo = d->dw.dwfl_build_id_find_debuginfo };
    d->dwfl = d->dw.dwfl_begin(&d->callbacks);
    return d->dwfl && d->dw.dwfl_linux_proc_report(d->dwfl, getpid()) == 0 &&
           d->dw.dwfl_report_end(d->dwfl, NULL, NULL) == 0;
}

struct debuginfo_libdw *debuginfo_libdw_open(void)
{
    struct debuginfo_libdw *d = calloc(1, sizeof(*d));

    return d && library_open(&d->dw) && dwfl_open(d) ? d : NULL;
}

/* Where an inlined function was called. */
static const char *call_place(const struct libdw *dw, Dwarf_Die *cu, Dwarf_Die *call, int *ret_line)
{
    Dwarf_Word file = 0, line = 0;
    Dwarf_Attribute attribute;
    Dwarf_Files *files;
    size_t n_files;

    dw->dwarf_formudata(dw->dwarf_attr(call, DW_AT_call_file, &attribute), &file);
    dw->dwarf_formudata(dw->dwarf_attr(call, DW_AT_call_line, &attribute), &line);
    *ret_line = (int)line;
    if (dw->dwarf_getsrcfiles(cu, &files, &n_files) != 0 || file >= n_files)
        return NULL;
    return dw->dwarf_filesrc(files, file, NULL, NULL);
}

/* From the innermost scope outwards, to the function that they are all in. Whether there is one. */
static bool find_functions(const struct libdw *dw, Dwarf_Die *cu, Dwarf_Die *inner,
        Dwfl_Line *source, debuginfo_found found, void *arg)
{
    int line = 0, tag = 0;
    const char *file = dw->dwfl_lineinfo(source, NULL, &line, NULL, NULL, NULL);
    Dwarf_Die *scopes = NULL;
    int n = dw->dwarf_getscopes_die(inner, &scopes);

    for (int i = 0; file && i < n && tag != DW_TAG_subprogram; i++) {
        const char *name = dw->dwarf_diename(&scopes[i]);

        tag = dw->dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
            continue;
        found(arg, name ? name : "?", file, line);
        if (tag == DW_TAG_inlined_subroutine)
            file = call_place(dw, cu, &scopes[i], &line);
    }
    free(scopes);
    return tag == DW_TAG_subprogram;
}

static bool find_by_dwarf(const struct libdw *dw, Dwfl_Module *module, Dwarf_Addr at,
        debuginfo_found found, void *arg)
{
    Dwarf_Addr bias;
    Dwarf_Die *cu = dw->dwfl_module_addrdie(module, at, &bias), *scopes = NULL;
    Dwfl_Line *source = dw->dwfl_module_getsrc(module, at);
    bool any = cu && source && dw->dwarf_getscopes(cu, at - bias, &scopes) > 0 &&
               find_functions(dw, cu, &scopes[0], source, found, arg);

    free(scopes);
    return any;
}

static void find_by_symbol(const struct libdw *dw, Dwfl_Module *module, Dwarf_Addr at,
        debuginfo_found found, void *arg)
{
    GElf_Off offset;
    GElf_Sym symbol;
    char text[256];
    const char *name = dw->dwfl_module_addrinfo(module, at, &offset, &symbol, NULL, NULL, NULL);

    if (!name)
        return;
    snprintf(text, sizeof(text), "%s+0x%llx", name, (unsigned long long)offset);
    found(arg, text, NULL, 0);
}

void debuginfo_libdw_find(struct debuginfo_libdw *d, uintptr_t at, debuginfo_found found, void *arg)
{
    Dwfl_Module *module = d->dw.dwfl_addrmodule(d->dwfl, at);

    if (module && !find_by_dwarf(&d->dw, module, at, found, arg))
        find_by_symbol(&d->dw, module, at, found, arg);
}
