/* What sanitizers are to pass over in gRPC core, for every program that links this library.
 *
 * Core and the libraries beneath it come from the system, built without instrumentation: of
 * their synchronisation ThreadSanitizer sees the mutexes but not the atomic operations, and
 * takes what those order for races. Our own code is never called from inside core (it is
 * called from the loop, after core has returned), so that nothing of ours is passed over. */

#ifdef __SANITIZE_THREAD__
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:libgrpc_unsecure.so\n"
           "race:libgpr.so\n"
           "race:libabsl_\n"
           "race:libcares.so\n"
           "mutex:libabsl_\n"
           "mutex:libgrpc_unsecure.so\n"
           "deadlock:libgrpc_unsecure.so\n";
}
#endif

#ifdef __SANITIZE_ADDRESS__
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    /* Looking up a host name leaves some bytes behind. */
    return "leak:libcares.so\n";
}
#endif
