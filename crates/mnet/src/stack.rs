use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, IntoFuture};
use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use mkernel::{WaitKey, now_coarse};
use mnet_proto::{Address, AddressError, Config, ConfigError, IpCidr, Lease, RouteError, Stats};
use netdev::{Device, Instant};

use crate::arguments::config_from_args;
use crate::driver::drive;
use crate::error::StackError;
use crate::shared::{Shared, State};
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
        let device = mkernel::acquire(&self.name)?;
        Ok(Stack::start(device, &config, self.name)?)
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
    shared: Rc<Shared<mnet_proto::Stack>>,
}

impl Stack {
    /// A stack on any device, with a task of its own to drive it.
    ///
    /// ```
    /// let (left, right, _cable) = netsim::device::pair(1_500);
    /// mkernel::block_on(async {
    ///     let at = |cidr: &str| mnet::Config::new(cidr.parse().unwrap());
    ///     let ours = mnet::Stack::new(left, &at("10.0.0.1/24")).unwrap();
    ///     let theirs = mnet::Stack::new(right, &at("10.0.0.2/24")).unwrap();
    ///     let socket = theirs.udp().bind(7).unwrap();
    ///     ours.udp().send_to(b"hello", ([10, 0, 0, 2], 7)).await.unwrap();
    ///     assert_eq!(socket.recv_datagram().await.unwrap().payload(), b"hello");
    /// });
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`], which says what does not fit.
    pub fn new(device: impl Device + 'static, config: &Config) -> Result<Self, ConfigError> {
        let name = device.mac().to_string();
        Self::start(device, config, name)
    }

    /// A stack on a device that goes by this name.
    fn start(
        device: impl Device + 'static,
        config: &Config,
        name: String,
    ) -> Result<Self, ConfigError> {
        let mut seed = [0; 32];
        mkernel::fill_random(&mut seed);
        let pool = config.pool(device.mtu())?;
        let stack = mnet_proto::Stack::new(config, &device, pool, now_coarse(), seed)?;
        // Who that is it says in its first turn.
        let driver = Waker::noop().clone();
        let shared = Shared::new(stack.pool().clone(), stack, Some(driver));
        mkernel::spawn(drive(Rc::downgrade(&shared), device, name));
        Ok(Self { shared })
    }

    /// Its UDP.
    #[must_use]
    pub fn udp(&self) -> Udp {
        Udp::new(self.shared.clone())
    }

    /// Waits until the host has an address that it may use, if only for its link: what is sent before
    /// finds no route. A stack that was given an IPv4 address has it from the beginning.
    pub async fn ready(&self) {
        self.waits().ready().await;
    }

    /// Its addresses, as they are now: those that it uses, and those that it is about to.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.shared.state.borrow().host.addresses().collect()
    }

    /// Waits until the host's addresses are others than they are at this call: one was added, is used,
    /// is another host's, or was removed. Also if the device is gone, from when on none changes.
    ///
    /// Whoever looks at [`Stack::addresses`] and then calls this, without awaiting anything in between,
    /// misses nothing. Cancel-safe.
    ///
    /// ```
    /// use core::net::IpAddr;
    ///
    /// use mnet::{Ipv6Cidr, Origin, Stack};
    ///
    /// /// Waits until an address of IPv6 is used that reaches further than the link.
    /// async fn reaches_far(stack: &Stack) -> IpAddr {
    ///     loop {
    ///         let far = stack.addresses().into_iter().find(|own| {
    ///             let v6 = own.cidr.address().is_ipv6();
    ///             v6 && own.origin != Origin::LinkLocal && !own.tentative
    ///         });
    ///         match far {
    ///             Some(own) => return own.cidr.address(),
    ///             None => stack.addresses_changed().await,
    ///         }
    ///     }
    /// }
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// # drop(theirs);
    /// let task = mkernel::spawn({
    ///     let stack = ours.clone();
    ///     async move { reaches_far(&stack).await }
    /// });
    /// let address = Ipv6Cidr::new("fd00::1".parse().unwrap(), 64).unwrap();
    /// ours.add_address(address)?;
    /// assert_eq!(task.await?, IpAddr::from(address.address()));
    /// # Ok(()) });
    /// ```
    pub fn addresses_changed(&self) -> impl Future<Output = ()> {
        let before = self.shared.state.borrow().host.address_changes();
        Changed { shared: Rc::clone(&self.shared), before, key: WaitKey::default() }
    }

    /// Gives the host an address. One of IPv4 is used at once; one of IPv6 when nobody else has
    /// claimed it for a second (RFC 4862 §5.4). One that another host has is asked for again every
    /// minute.
    ///
    /// ```
    /// use mnet::Ipv4Cidr;
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// # drop(theirs);
    /// ours.add_address(Ipv4Cidr::new([10, 0, 0, 3].into(), 24).unwrap())?;
    /// let socket = ours.udp().bind(([10, 0, 0, 3], 7))?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`AddressError`], which says why not.
    pub fn add_address(&self, address: impl Into<IpCidr>) -> Result<(), AddressError> {
        let address = address.into();
        self.change(|stack, now| stack.add_address(now, address))
    }

    /// Takes an address away; `false` if the host does not have it.
    pub fn remove_address(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.change(|stack, now| stack.remove_address(now, address))
    }

    /// Sends what goes to a prefix by a router, or, without one, to neighbours on the link. Of
    /// several ways the longest prefix counts.
    ///
    /// # Errors
    /// [`RouteError`], which says why not.
    pub fn add_route(
        &self,
        prefix: impl Into<IpCidr>,
        gateway: Option<IpAddr>,
    ) -> Result<(), RouteError> {
        let prefix = prefix.into();
        self.change(|stack, _| stack.add_route(prefix, gateway))
    }

    /// Takes a route away that [`Stack::add_route`] made, or the configuration; `false` if there is
    /// none.
    pub fn remove_route(&self, prefix: impl Into<IpCidr>, gateway: Option<IpAddr>) -> bool {
        let prefix = prefix.into();
        self.change(|stack, _| stack.remove_route(prefix, gateway))
    }

    /// The DNS servers of the network, as DHCP (RFC 2132 §3.8) and routers (RFC 8106) name them, best
    /// first.
    #[must_use]
    pub fn dns_servers(&self) -> Vec<IpAddr> {
        self.shared.state.borrow().host.dns_servers().collect()
    }

    /// What a DHCP server has leased to the host (RFC 2131); `None` before that, or without DHCP.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.shared.state.borrow().host.lease().cloned()
    }

    /// What others wait for too, be it of a stack or not.
    fn waits(&self) -> &Shared {
        let shared: &Shared<mnet_proto::Stack> = &self.shared;
        shared
    }

    fn change<T>(&self, change: impl FnOnce(&mut mnet_proto::Stack, Instant) -> T) -> T {
        let mut state = self.shared.state.borrow_mut();
        let changed = change(&mut state.host, now_coarse());
        state.wake_driver();
        changed
    }

    /// Waits until all that was sent so far is with the device, or has been given up; what others send
    /// meanwhile is waited for too.
    ///
    /// What is sent is on its way once `main` has awaited something else; a `main` that returns
    /// right after it sends ends the image before that, unless it awaits this.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// # let sink = theirs.udp().bind(9)?;
    /// ours.udp().send_to(b"goodbye", ([10, 0, 0, 2], 9)).await?;
    /// ours.flush().await;
    /// # drop(sink);
    /// # Ok(()) });
    /// ```
    pub async fn flush(&self) {
        self.waits().flushed().await;
    }

    /// Its counters, as they are now.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// ours.udp().send_to(b"to a closed port", ([10, 0, 0, 2], 9)).await?;
    /// # mkernel::sleep(core::time::Duration::from_millis(20)).await;
    /// assert_eq!(theirs.stats().dropped[mnet::Drop::UdpNoSocket], 1);
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.state.borrow().host.stats().clone()
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

/// The future of [`Stack::addresses_changed`].
struct Changed {
    shared: Rc<Shared<mnet_proto::Stack>>,
    /// How often they had changed before.
    before: u64,
    key: WaitKey,
}

impl Future for Changed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, before, key } = &mut *self;
        let State { host, ready, .. } = &mut *shared.state.borrow_mut();
        if host.is_gone() || host.address_changes() != *before {
            return Poll::Ready(());
        }
        ready.register(key, cx.waker());
        Poll::Pending
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        self.shared.state.borrow_mut().ready.remove(&mut self.key);
    }
}
