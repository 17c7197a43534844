//! What there is one of: on Linux, one for each thread, so that tests can run side by side.

/// Declares a value of which each thread has its own, to be used by its `with`.
macro_rules! local {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;) => {
        ::std::thread_local! {
            $(#[$meta])*
            $vis static $name: $type = const { $init };
        }
    };
}
pub(crate) use local;
