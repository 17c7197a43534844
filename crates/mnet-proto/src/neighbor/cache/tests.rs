use core::net::{Ipv4Addr, Ipv6Addr};

use netdev::Pool;
use proptest::prelude::*;

use super::*;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn host(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
}

fn after(seconds: f64) -> Instant {
    START + Duration::from_secs_f64(seconds)
}

/// A cache, and what it asked for.
struct Scene {
    cache: Cache,
    pool: Pool,
    solicited: Vec<(IpAddr, Option<Mac>)>,
    // The first byte of each packet sent, and to whom.
    sent: Vec<(u8, Mac)>,
    dropped: Vec<Drop>,
    unreachable: Vec<IpAddr>,
}

impl Scene {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("10.0.0.2/8".parse().unwrap());
        change(&mut config);
        Self {
            cache: Cache::new(&config, ByAddress(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03)),
            pool: Pool::new(64, 200),
            solicited: Vec::new(),
            sent: Vec::new(),
            dropped: Vec::new(),
            unreachable: Vec::new(),
        }
    }

    fn run(&mut self, f: impl FnOnce(&mut Cache)) {
        let Self { cache, solicited, dropped, unreachable, .. } = self;
        f(cache);
        while let Some(action) = cache.poll_action() {
            match action {
                Action::Solicit(address, mac) => solicited.push((address, mac)),
                Action::Count(reason) => dropped.push(reason),
                Action::GiveUp(_) => dropped.push(Drop::NeighborUnreachable),
                Action::Unreachable(address) => unreachable.push(address),
            }
        }
    }

    fn wait(&mut self, now: Instant, address: IpAddr, mark: u8) {
        let mut packet = self.pool.take().unwrap();
        packet.append(1).unwrap()[0] = mark;
        let Lookup::Unresolved(neighbor) = self.cache.lookup(now, address) else {
            panic!("it is known, or has failed");
        };
        let wait = self.cache.wait(now, neighbor, packet, 1_500);
        if wait == Wait::Asks {
            self.solicited.push((address, None));
        }
        self.run(|_| ());
    }

    fn learn(&mut self, now: Instant, address: IpAddr, mac: Mac, evidence: Evidence) {
        let resolved = self.cache.learn(now, address, mac, evidence);
        self.send_waiting(resolved);
    }

    fn send_waiting(&mut self, resolved: Option<Resolved>) {
        let Self { cache, sent, .. } = self;
        while let Some((packet, mac, _)) =
            resolved.and_then(|resolved| cache.poll_waiting(resolved))
        {
            sent.push((packet.bytes()[0], mac));
        }
        self.run(|_| ());
    }

    fn timeout(&mut self, now: Instant) {
        self.run(|cache| cache.handle_timeout(now));
    }

    /// Lets time pass from timer to timer until `end`.
    fn drive(&mut self, end: Instant) {
        while let Some(next) = self.cache.poll_timeout().filter(|&next| next <= end) {
            self.timeout(next);
        }
    }

    fn is_reachable(&self, now: Instant, address: IpAddr) -> bool {
        let state = self.cache.known(address).unwrap().state;
        matches!(state, State::Reachable { until } if until > now)
    }

    fn is_stale(&self, now: Instant, address: IpAddr) -> bool {
        self.cache.known(address).unwrap().is_stale(now)
    }

    /// A neighbour that has answered at `now`.
    fn resolve(&mut self, now: Instant, address: IpAddr) {
        self.wait(now, address, 0);
        self.learn(now, address, MAC, Evidence::Answer);
        self.sent.clear();
        self.solicited.clear();
    }
}

#[test]
fn a_neighbour_is_asked_three_times_and_then_given_up() {
    let mut scene = Scene::new(|_| ());
    assert!(matches!(scene.cache.lookup(START, host(1)), Lookup::Unresolved(_)));
    scene.wait(START, host(1), 1);
    scene.wait(START, host(1), 2);
    assert_eq!(scene.solicited, [(host(1), None)]);
    scene.drive(after(2.9));
    assert_eq!(scene.solicited, [(host(1), None); 3]);
    assert_eq!(scene.dropped, []);

    scene.drive(after(3.0));
    assert_eq!(scene.dropped, [Drop::NeighborUnreachable; 2]);
    assert_eq!(scene.cache.lookup(after(3.5), host(1)), Lookup::Failed);
    assert!(matches!(scene.cache.lookup(after(4.0), host(1)), Lookup::Unresolved(_)));
    scene.drive(after(10.0));
    assert!(scene.cache.entries.is_empty());
    assert_eq!(scene.cache.poll_timeout(), None);
    assert_eq!((scene.solicited.len(), scene.pool.available()), (3, 64));
}

#[test]
fn what_waited_is_sent_in_order_when_the_neighbour_answers() {
    let mut scene = Scene::new(|_| ());
    (1..=3).for_each(|mark| scene.wait(START, host(1), mark));
    scene.wait(START, host(2), 9);
    scene.learn(after(0.5), host(1), MAC, Evidence::Answer);
    assert_eq!(scene.sent, [(1, MAC), (2, MAC), (3, MAC)]);
    assert_eq!(scene.cache.lookup(after(0.5), host(1)), Lookup::Found(MAC));
    assert!(matches!(scene.cache.lookup(after(0.5), host(2)), Lookup::Unresolved(_)));
}

#[test]
fn each_neighbour_has_its_own_queue_of_which_the_oldest_goes() {
    let mut scene = Scene::new(|_| ());
    scene.wait(START, host(2), 100);
    (1..=10).for_each(|mark| scene.wait(START, host(1), mark));
    assert_eq!(scene.dropped, [Drop::NeighborQueueFull; 2]);
    scene.learn(START, host(1), MAC, Evidence::Answer);
    assert_eq!(
        scene.sent.iter().map(|&(mark, _)| mark).collect::<Vec<_>>(),
        [3, 4, 5, 6, 7, 8, 9, 10]
    );
    scene.sent.clear();
    scene.learn(START, host(2), MAC, Evidence::Answer);
    assert_eq!(scene.sent, [(100, MAC)]);
}

#[test]
fn all_queues_together_are_bounded() {
    let mut scene = Scene::new(|config| config.neighbor_queues = 10);
    (0..20).for_each(|number| scene.wait(START, host(number), 1));
    // One can wait for each, and no more than that.
    assert_eq!(scene.dropped, []);
    (0..20).for_each(|number| scene.wait(START, host(number), 2));
    assert_eq!(scene.dropped, [Drop::NeighborQueueFull; 20]);
    assert_eq!(scene.pool.available(), 64 - 20);
    scene.drive(after(5.0));
    assert_eq!((scene.pool.available(), scene.cache.queued), (64, 0));
}

#[test]
fn a_flood_of_neighbours_never_puts_out_those_in_use() {
    let mut scene = Scene::new(|config| config.neighbors = 16);
    (0..15).for_each(|number| scene.resolve(START, host(number)));
    for number in 100..1_000 {
        scene.wait(after(1.0), host(number), 1);
        scene.learn(after(1.0), host(number + 1_000), OTHER, Evidence::Overheard);
    }
    assert_eq!(scene.cache.entries.len(), 16);
    for number in 0..15 {
        assert_eq!(scene.cache.lookup(after(1.0), host(number)), Lookup::Found(MAC));
    }
    // Requests are believed, but the cache is full of neighbours in use by then.
    scene.resolve(after(1.0), host(15));
    scene.learn(after(1.0), host(16), OTHER, Evidence::Request);
    scene.wait(after(1.0), host(17), 1);
    assert_eq!(scene.dropped.last(), Some(&Drop::NeighborCacheFull));
    assert_eq!(scene.cache.lookup(after(1.0), host(15)), Lookup::Found(MAC));
}

#[test]
fn those_who_only_ask_for_us_leave_before_those_we_speak_to() {
    let mut scene = Scene::new(|config| config.neighbors = 16);
    (100..1_000).for_each(|number| scene.learn(START, host(number), OTHER, Evidence::Request));
    assert_eq!(scene.cache.entries.len(), 16);
    scene.wait(START, host(1), 1);
    (1_000..2_000).for_each(|number| scene.learn(START, host(number), OTHER, Evidence::Request));
    scene.learn(START, host(1), MAC, Evidence::Answer);
    assert_eq!(scene.sent, [(1, MAC)]);
}

#[test]
fn in_a_full_cache_the_least_recently_used_goes() {
    let mut scene = Scene::new(|config| config.neighbors = 4);
    (0..4).for_each(|number| scene.resolve(after(f64::from(number)), host(number)));
    scene.cache.lookup(after(10.0), host(0));
    scene.resolve(after(41.5), host(9));
    let known: Vec<_> = (0..10).filter(|&n| scene.cache.known(host(n)).is_some()).collect();
    assert_eq!(known, [0, 2, 3, 9]);
}

#[test]
fn an_answer_is_believed_for_a_while_and_then_asked_for_again_by_unicast() {
    let mut scene = Scene::new(|_| ());
    scene.resolve(START, host(1));
    scene.drive(after(14.9));
    assert!(scene.is_reachable(after(14.9), host(1)));
    scene.drive(after(45.1));
    assert!(scene.is_stale(after(45.1), host(1)));
    assert_eq!(scene.cache.poll_timeout(), None);

    // Used, it is asked after five seconds; an answer makes it reachable again.
    assert_eq!(scene.cache.lookup(after(50.0), host(1)), Lookup::Found(MAC));
    scene.drive(after(54.9));
    assert_eq!(scene.solicited, []);
    scene.drive(after(55.0));
    assert_eq!(scene.solicited, [(host(1), Some(MAC))]);
    scene.learn(after(55.1), host(1), MAC, Evidence::Answer);
    assert!(scene.is_reachable(after(55.1), host(1)));

    // Without an answer it is forgotten after three requests.
    scene.solicited.clear();
    scene.drive(after(110.0));
    scene.cache.lookup(after(110.0), host(1));
    scene.drive(after(120.0));
    assert_eq!(scene.solicited, [(host(1), Some(MAC)); 3]);
    assert!(matches!(scene.cache.lookup(after(120.0), host(1)), Lookup::Unresolved(_)));
}

#[test]
fn nobody_is_believed_who_was_not_asked() {
    let mut scene = Scene::new(|_| ());
    scene.learn(START, host(1), MAC, Evidence::Answer);
    scene.learn(START, host(2), MAC, Evidence::Overheard);
    assert!(scene.cache.entries.is_empty());
    scene.learn(START, host(3), MAC, Evidence::Request);
    assert_eq!(scene.cache.lookup(START, host(3)), Lookup::Found(MAC));
}

#[test]
fn a_changed_address_is_used_at_once_and_asked_about() {
    let mut scene = Scene::new(|_| ());
    scene.resolve(START, host(1));
    scene.learn(after(1.0), host(1), OTHER, Evidence::Overheard);
    assert!(scene.is_stale(after(1.0), host(1)));
    assert_eq!(scene.cache.lookup(after(1.0), host(1)), Lookup::Found(OTHER));
    scene.drive(after(6.0));
    assert_eq!(scene.solicited, [(host(1), Some(OTHER))]);
}

#[test]
fn no_router_keeps_packets_waiting_for_long() {
    let mut scene = Scene::new(|_| ());
    let forever = Duration::from_millis(u32::MAX.into());
    scene.cache.set_times(forever, forever);
    assert_eq!(scene.cache.times[1].reachable, Duration::from_secs(3_600));
    scene.wait(START, IpAddr::V6(Ipv6Addr::LOCALHOST), 1);
    for second in [10, 20, 30] {
        assert_eq!(scene.pool.available(), 63);
        scene.timeout(START + Duration::from_secs(second));
    }
    assert_eq!(scene.pool.available(), 64);
}

/// What may happen to one of a few neighbours.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    Learn(Evidence),
    Advert { solicited: bool, overrides: bool },
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    let evidence = [Evidence::Answer, Evidence::Request, Evidence::Overheard];
    prop_oneof![
        4 => Just(Step::Send),
        4 => proptest::sample::select(evidence.to_vec()).prop_map(Step::Learn),
        1 => (any::<bool>(), any::<bool>())
            .prop_map(|(solicited, overrides)| Step::Advert { solicited, overrides }),
        2 => Just(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_least_worthy_that_is_not_in_use_leaves(
        steps in proptest::collection::vec((step(), 0..12_u32, any::<bool>(), 0..20_u32), 1..200),
    ) {
        let mut scene = Scene::new(|config| config.neighbors = 5);
        let mut now = START;
        for (step, number, same, seconds) in steps {
            let (address, mac) = (host(number), if same { MAC } else { OTHER });
            // Whoever was there: how much it is worth, and whether it is in use.
            let worth = |entry: &Entry| (entry.worth(), entry.last_used);
            let before: Vec<_> = scene.cache.entries.iter()
                .map(|(_, entry)| (entry.address, worth(entry), entry.in_use(now)))
                .collect();
            match step {
                Step::Send => if matches!(scene.cache.lookup(now, address), Lookup::Unresolved(_)) {
                    scene.wait(now, address, 1);
                },
                Step::Learn(evidence) => scene.learn(now, address, mac, evidence),
                Step::Advert { solicited, overrides } => {
                    let cache = &mut scene.cache;
                    let heard = cache.advertised(now, address, Some(mac), solicited, overrides);
                    if let Some(Heard::Believed(resolved)) = heard {
                        scene.send_waiting(resolved);
                    }
                }
                Step::Pass => {
                    now += Duration::from_secs(seconds.into());
                    scene.timeout(now);
                }
            }
            let cache = &scene.cache;
            let gone: Vec<_> = before.iter()
                .filter(|(address, ..)| cache.known(*address).is_none()).collect();
            if !matches!(step, Step::Pass) {
                let idle = before.iter().filter(|(.., in_use)| !in_use);
                let least = idle.map(|&(_, worth, _)| worth).min();
                prop_assert!(gone.len() <= 1);
                for &&(_, worth, in_use) in &gone {
                    prop_assert!(!in_use && Some(worth) == least);
                }
                // Nobody is refused while there is one that is not in use.
                let refused = scene.dropped.last() == Some(&Drop::NeighborCacheFull);
                prop_assert!(!refused || before.iter().all(|&(.., in_use)| in_use));
            }
            scene.dropped.clear();
            let timers = cache.entries.iter().filter_map(|(_, entry)| entry.state.timer());
            prop_assert_eq!(cache.poll_timeout(), timers.min());
            prop_assert!(cache.poll_timeout().is_none_or(|next| next > now));
            for (slot, entry) in &cache.entries {
                prop_assert_eq!(cache.slot(entry.address), Some(slot));
            }
            let idle = |entry: &Entry| entry.is_unknown() || entry.waiting.is_empty();
            prop_assert!(cache.entries.iter().all(|(_, entry)| idle(entry)));
            let waiting: usize = cache.entries.iter().map(|(_, entry)| entry.waiting.len()).sum();
            prop_assert_eq!(cache.waiting(), waiting);
            prop_assert!(cache.entries.len() <= 5);
        }
    }
}
