use core::fmt::Display;

/// The status with which an image ends: 0 for success, 1 for failure, 255 after a panic, others as
/// the service likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub u8);

impl ExitStatus {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something went wrong.
    pub const FAILURE: Self = Self(1);
}

/// What `main` may return.
pub trait Termination: 'static {
    /// Says what there is to say, and with which status the image ends.
    fn report(self) -> ExitStatus;
}

impl Termination for () {
    fn report(self) -> ExitStatus {
        ExitStatus::SUCCESS
    }
}

impl Termination for ExitStatus {
    fn report(self) -> ExitStatus {
        self
    }
}

impl Termination for core::convert::Infallible {
    fn report(self) -> ExitStatus {
        match self {}
    }
}

impl<T: Termination, E: Display + 'static> Termination for Result<T, E> {
    /// An error is logged, and is a failure.
    fn report(self) -> ExitStatus {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                log::error!(target: "main", "{error}");
                ExitStatus::FAILURE
            }
        }
    }
}
