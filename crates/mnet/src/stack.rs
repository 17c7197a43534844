use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::fmt;
use core::future::{Future, IntoFuture};
use core::pin::Pin;

use mnet_proto::{Config, ConfigError, Ipv4Cidr, Stats};
use netdev::Device;

use crate::arguments::config_from_args;
use crate::driver::drive;
use crate::error::StackError;
use crate::shared::Shared;
use crate::udp::Udp;

/// Sets up a stack on the network device of this name, one of those in
/// `#[mkernel::main(net = "…")]`. Await what it gives.
///
/// Unless it is given a [`Config`] it is configured by the image's arguments; see the
/// [crate's documentation](crate#configuration).
#[must_use = "a stack starts when it is awaited"]
pub fn stack(name: &str) -> Builder {
    Builder { name: name.to_string(), config: None }
}

/// A stack to be; see [`stack`].
#[derive(Clone, Debug)]
#[must_use = "a stack starts when it is awaited"]
pub struct Builder {
    name: String,
    config: Option<Config>,
}

impl Builder {
    /// Configures the stack by `config` and not by the image's arguments.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    fn start(self) -> Result<Stack, StackError> {
        let config = match self.config {
            Some(config) => config,
            None => config_from_args()?,
        };
        Ok(Stack::new(mkernel::acquire(&self.name)?, &config)?)
    }
}

impl IntoFuture for Builder {
    type Output = Result<Stack, StackError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    /// Starts the stack.
    ///
    /// # Errors
    /// [`StackError`], which names what is wrong.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.start() })
    }
}

/// A running stack. Clones are handles of the same one.
#[derive(Clone)]
pub struct Stack {
    shared: Rc<Shared>,
}

impl Stack {
    /// A stack on any device, with a task of its own to drive it.
    ///
    /// # Errors
    /// [`ConfigError`], which says what does not fit.
    pub fn new(device: impl Device + 'static, config: &Config) -> Result<Self, ConfigError> {
        let mut seed = [0; 32];
        mkernel::fill_random(&mut seed);
        let pool = config.pool(device.mtu())?;
        let shared = Shared::new(mnet_proto::Stack::new(config, &device, pool, seed)?);
        mkernel::spawn(drive(Rc::downgrade(&shared), device));
        Ok(Self { shared })
    }

    /// Its UDP.
    #[must_use]
    pub fn udp(&self) -> Udp {
        Udp::new(Rc::clone(&self.shared))
    }

    /// Its IPv4 address, and how long its link's prefix is.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Cidr {
        self.shared.state.borrow().stack.ipv4()
    }

    /// Waits until all that was sent so far is with the device, or has been given up.
    ///
    /// What is sent is on its way once `main` has awaited something else; a `main` that returns
    /// right after it sends ends the image before that, unless it awaits this.
    pub async fn flush(&self) {
        self.shared.flushed().await;
    }

    /// Its counters, as they are now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.state.borrow().stack.stats().clone()
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("ipv4", &self.ipv4()).finish_non_exhaustive()
    }
}
