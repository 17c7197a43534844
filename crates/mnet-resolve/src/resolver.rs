use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{self, Future};
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use mkernel::{now, timeout};
use mnet::{RecvError, SendError, Stack, UdpSocket};

use crate::answer::{Answer, MAX_ALIASES};
use crate::cache::Cache;
use crate::error::ResolveError;
use crate::message;

/// Port of DNS.
pub const PORT: u16 = 53;

/// Servers that are asked, of all that are known.
const MAX_SERVERS: usize = 8;
/// How long a server has to answer, unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long all servers together have, in timeouts.
const TOTAL: u32 = 5;

/// Asks DNS servers: those of the network, or others.
pub struct Resolver {
    stack: Stack,
    servers: Option<Vec<SocketAddr>>,
    timeout: Duration,
    cache: Option<RefCell<Cache>>,
    // Who answered last, and is asked first.
    answered: Cell<Option<SocketAddr>>,
}

impl Resolver {
    /// One that asks the servers that the network names at the time ([`Stack::dns_servers`]), and
    /// remembers nothing.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        let (stack, answered) = (stack.clone(), Cell::new(None));
        Self { stack, servers: None, timeout: TIMEOUT, cache: None, answered }
    }

    /// Lets it ask these servers, in this order, instead of the network's. Those after the eighth
    /// are not asked.
    #[must_use]
    pub fn servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers = Some(servers.into_iter().collect());
        self
    }

    /// Lets it wait that long for each server, and five times as long for all; 2 seconds at first.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets it remember answers.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(RefCell::new(cache));
        self
    }

    /// The addresses of a host, IPv4 first; never none. An address is its own, without a question
    /// to anybody. Names are complete: nothing is appended to them.
    ///
    /// # Errors
    /// [`ResolveError`], if there is no address of either family.
    pub async fn lookup_ip(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = name(host)?;
        let ipv4 = self.addresses(name.clone(), RecordType::A);
        let ipv6 = self.addresses(name, RecordType::AAAA);
        match both(ipv4, ipv6).await {
            (Ok(mut ipv4), ipv6) => {
                ipv4.extend(ipv6.into_iter().flatten());
                Ok(ipv4)
            }
            (Err(_), Ok(ipv6)) => Ok(ipv6),
            (Err(ResolveError::NoRecords { .. }), Err(error)) | (Err(error), Err(_)) => Err(error),
        }
    }

    /// The records of a type that a name has, and the aliases that lead there; never none.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn lookup(&self, host: &str, kind: RecordType) -> Result<Answer, ResolveError> {
        self.follow(name(host)?, kind).await
    }

    async fn addresses(&self, name: Name, kind: RecordType) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(self.follow(name, kind).await?.addresses().collect())
    }

    /// Asks for a name, and for what it is an alias of if the server has left that open.
    async fn follow(&self, mut name: Name, kind: RecordType) -> Result<Answer, ResolveError> {
        for _ in 0..=MAX_ALIASES {
            let answer = self.ask(&Query::query(name, kind)).await?;
            let lifetime = answer.lifetime();
            if answer.code() == ResponseCode::NXDomain {
                return Err(ResolveError::NotFound { lifetime });
            }
            if let Some(open) = answer.open() {
                name = open.clone();
                continue;
            }
            let found = answer.records().iter().any(|record| record.record_type() == kind);
            return if found || kind == RecordType::ANY && !answer.records().is_empty() {
                Ok(answer)
            } else {
                Err(ResolveError::NoRecords { lifetime })
            };
        }
        Err(ResolveError::Loop)
    }

    /// What is remembered of a question.
    #[must_use]
    pub fn remembered(&self, query: &Query) -> Option<Answer> {
        self.cache.as_ref()?.borrow_mut().get(now(), query)
    }

    /// What a server says to a question, or what is remembered of that. That there is nothing is an
    /// answer, too.
    ///
    /// # Errors
    /// [`ResolveError`], if there is no answer. It is never `NotAName`, `NotFound` or `NoRecords`.
    pub async fn ask(&self, query: &Query) -> Result<Answer, ResolveError> {
        if let Some(answer) = self.remembered(query) {
            return Ok(answer);
        }
        let answer = self.ask_servers(query).await?;
        if let Some(cache) = &self.cache {
            cache.borrow_mut().insert(now(), query, &answer);
        }
        Ok(answer)
    }

    async fn ask_servers(&self, query: &Query) -> Result<Answer, ResolveError> {
        let deadline = now() + self.timeout * TOTAL;
        let mut servers = self.in_order();
        let mut last = ResolveError::NoServers;
        while !servers.is_empty() {
            // Those that have said that they do not know, or cannot be reached, are not asked again.
            let mut silent = Vec::new();
            for server in servers {
                let time = self.timeout.min(deadline - now());
                if time.is_zero() {
                    return Err(last);
                }
                let answer = match timeout(time, self.ask_server(server, query)).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        silent.push(server);
                        Err(ResolveError::Timeout)
                    }
                };
                match answer {
                    Err(error @ (ResolveError::Bind(_) | ResolveError::Recv(_))) => {
                        return Err(error);
                    }
                    Err(error @ (ResolveError::Truncated | ResolveError::Loop)) => {
                        return Err(error);
                    }
                    Err(error) => last = error,
                    Ok(answer) => {
                        self.answered.set(Some(server));
                        return Ok(answer);
                    }
                }
            }
            servers = silent;
        }
        Err(last)
    }

    /// The servers, that which answered last first.
    fn in_order(&self) -> Vec<SocketAddr> {
        let network = || {
            let servers = self.stack.dns_servers().into_iter();
            servers.map(|address| (address, PORT).into()).collect()
        };
        let mut servers = self.servers.clone().unwrap_or_else(network);
        servers.truncate(MAX_SERVERS);
        servers.sort_by_key(|server| self.answered.get() != Some(*server));
        servers
    }

    async fn ask_server(&self, server: SocketAddr, query: &Query) -> Result<Answer, ResolveError> {
        let answer = self.exchange(server, query, true).await;
        match answer {
            Err(ResolveError::Failed(code)) if message::is_without_edns(code) => {
                self.exchange(server, query, false).await
            }
            answer => answer,
        }
    }

    /// Asks one server once, from a random port and with a random ID of its own (RFC 5452), and waits
    /// for what answers that, or for word that it cannot be reached.
    async fn exchange(
        &self,
        server: SocketAddr,
        query: &Query,
        with_edns: bool,
    ) -> Result<Answer, ResolveError> {
        let mut id = [0; 2];
        mkernel::fill_random(&mut id);
        let id = u16::from_be_bytes(id);
        let question = message::ask(id, query, with_edns).map_err(|_| ResolveError::NotAName)?;
        let socket: UdpSocket = self.stack.udp().bind(0)?;
        socket.connect(server)?;
        socket.send(&question).await?;
        loop {
            let datagram = match socket.recv_datagram().await {
                Err(RecvError::DestinationUnreachable(error)) => {
                    return Err(SendError::DestinationUnreachable(error).into());
                }
                datagram => datagram?,
            };
            if let Some(answer) = message::read(datagram.payload(), id, query) {
                return answer;
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("servers", &self.in_order()).finish_non_exhaustive()
    }
}

/// A complete name.
fn name(host: &str) -> Result<Name, ResolveError> {
    let mut name = Name::from_ascii(host).map_err(|_| ResolveError::NotAName)?;
    if host.is_empty() {
        return Err(ResolveError::NotAName);
    }
    name.set_fqdn(true);
    Ok(name)
}

/// Waits for both.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    future::poll_fn(|cx| {
        if of_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            of_a = Some(output);
        }
        if of_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            of_b = Some(output);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            halves => {
                (of_a, of_b) = halves;
                Poll::Pending
            }
        }
    })
    .await
}
