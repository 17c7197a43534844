//! What there is one of: an image has one core, no threads and no interrupts.

/// A value that the whole image shares.
pub(crate) struct Local<T>(T);

// SAFETY: Sync lets other threads have a reference, and there is never another thread: the tender
// enters the image once, and there is neither a call to start a thread nor a signal or interrupt.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.0)
    }
}

/// Declares a value of which there is one, to be used by its `with`.
macro_rules! local {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;) => {
        $(#[$meta])*
        $vis static $name: $crate::platform::local::Local<$type> =
            $crate::platform::local::Local::new($init);
    };
}
pub(crate) use local;
