//! What there is one of: on Linux, one for each thread, so that tests can run side by side.

/// Declares a value of which each thread has its own, to be used by its `with`.
macro_rules! local {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;) => {
        ::std::thread_local! {
            $(#[$meta])*
            $vis static $name: $type = $init;
        }
    };
}
pub(crate) use local;

/// What `f` says of a thread's value, or what there is to say by default on a thread that ends.
pub(crate) fn try_with<T, R: Default>(
    local: &'static std::thread::LocalKey<T>,
    f: impl FnOnce(&T) -> R,
) -> R {
    local.try_with(f).unwrap_or_default()
}
