//! Two hosts made of nothing but this stack and its TCBs, on a wire that loses frames: every table on the way is used as
//! an engine would use it, from the ARP request to the last entry in TIME-WAIT.

#[cfg(test)]
mod tests {
    use clock::Instant;
    use core::net::{IpAddr, SocketAddr};
    use core::ops::Range;
    use core::time::Duration;
    use stack::{
        Address, ConnectionTable, FlowId, FourTuple, HashKey, Input, Interface, InterfaceConfig,
        ListenConfig, ListenKeys, Listener, Replies, Resolution, TcpInput, TimeWaitTable, Verdict, Wheel,
    };
    use std::collections::VecDeque;
    use tcp::{Config, Connection, Events, Outgoing, State, TimeWaitAction};
    use wire::checksum::Sum;
    use wire::{Checksum, MacAddr, Path, emit_tcp};

    const FLOWS: u32 = 64;
    const PORT: u16 = 443;

    /// Byte `offset` of every stream.
    fn byte(offset: u64) -> u8 {
        u8::try_from(offset % 251).unwrap()
    }

    struct Flow {
        connection: Connection,
        path: Path,
        /// Still to be reserved.
        left: u64,
        held: Vec<Range<u64>>,
        received: u64,
        was_half_open: bool,
        /// We opened it, so the listener did not count it.
        is_active: bool,
    }

    struct Host {
        config: Config,
        interface: Interface,
        table: ConnectionTable,
        flows: Vec<Option<Flow>>,
        listener: Listener,
        time_wait: TimeWaitTable,
        wheel: Wheel,
        replies: Replies,
        /// What every accepted connection sends before it closes.
        serves: u64,
        finished: Vec<u64>,
        timed_out: u32,
    }

    impl Host {
        fn new(address: &str, mac: u8, serves: u64, half_open_max: u32, now: Instant) -> Self {
            let key = |seed| HashKey::new([mac ^ seed; 16]);
            let mut interface = InterfaceConfig::new(MacAddr([2, 0, 0, 0, 0, mac]));
            interface.addresses.push(Address { ip: address.parse().unwrap(), prefix_len: 24 });
            let mut listen = ListenConfig { half_open_max, ..ListenConfig::new(FLOWS) };
            listen.ports.push(PORT);
            let keys = ListenKeys { table: key(1), isn: key(2), cookie: key(3) };
            Self {
                config: Config { mss_max: 1460, ..Config::default() },
                interface: Interface::new(&interface, key(4)).unwrap(),
                table: ConnectionTable::new(FLOWS, key(5)),
                flows: (0..FLOWS).map(|_| None).collect(),
                listener: Listener::new(&listen, keys, now),
                time_wait: TimeWaitTable::new(FLOWS),
                wheel: Wheel::new(FLOWS, now),
                replies: Replies::new(),
                serves,
                finished: Vec::new(),
                timed_out: 0,
            }
        }

        fn add(&mut self, tuple: &FourTuple, flow: Flow) -> FlowId {
            let id = self.table.insert(tuple).unwrap();
            self.flows[id.index()] = Some(flow);
            id
        }

        fn connect(&mut self, now: Instant, tuple: &FourTuple, peer_mac: MacAddr) {
            let iss = self.listener.isn(now, tuple);
            let (local, peer) = (tuple.local.port(), tuple.peer.port());
            let connection = Connection::connect(&self.config, now, local, peer, iss);
            let path = self.interface.path_to(tuple, peer_mac);
            let flow = Flow {
                connection,
                path,
                left: 0,
                held: Vec::new(),
                received: 0,
                was_half_open: false,
                is_active: true,
            };
            self.add(tuple, flow);
        }

        fn on_frame(&mut self, now: Instant, frame: &[u8]) {
            let input = self.interface.on_frame(now, frame, false, &mut self.replies);
            match input {
                Input::Tcp(input) => self.on_tcp(now, &input),
                Input::Handled => {}
                other => panic!("{other:?}"),
            }
        }

        fn on_tcp(&mut self, now: Instant, input: &TcpInput<'_>) {
            let tuple = self.table.hashed_input(input);
            if let Some(id) = self.table.find_hashed(&tuple) {
                self.on_segment(now, id, input);
                return;
            }
            let bytes = u32::try_from(input.payload.len()).unwrap();
            let path = self.interface.path_back(input);
            let mut iss_min = None;
            match self.time_wait.on_segment(&self.config, now, &tuple, &input.header, bytes) {
                Some(TimeWaitAction::Ack(header)) => {
                    self.replies.push_tcp(&path, &header);
                    return;
                }
                Some(TimeWaitAction::Ignore) => return,
                Some(TimeWaitAction::Reuse { iss_min: least }) => iss_min = Some(least),
                None => {}
            }
            let (connection, was_half_open) =
                match self.listener.on_segment(&self.config, now, input, iss_min) {
                    Verdict::Accept { iss } => {
                        (Connection::accept(&self.config, now, &input.header, iss), true)
                    }
                    Verdict::AcceptCookie(cookie) => {
                        (Connection::accept_cookie(&self.config, now, &input.header, &cookie), false)
                    }
                    Verdict::Reply(header) => {
                        self.replies.push_tcp(&path, &header);
                        return;
                    }
                    Verdict::Drop(_) => return,
                };
            self.time_wait.remove(&tuple);
            let left = self.serves;
            let flow = Flow {
                connection,
                path,
                left,
                held: Vec::new(),
                received: 0,
                was_half_open,
                is_active: false,
            };
            let id = self.add(&input.tuple(), flow);
            if !was_half_open {
                self.on_segment(now, id, input);
            }
        }

        fn on_segment(&mut self, now: Instant, id: FlowId, input: &TcpInput<'_>) {
            let flow = self.flows[id.index()].as_mut().unwrap();
            let received = &mut flow.received;
            let mut deliver = |bytes: &[u8]| {
                for &arrived in bytes {
                    assert_eq!(arrived, byte(*received));
                    *received += 1;
                }
            };
            let events =
                flow.connection.on_segment(&self.config, now, &input.header, input.payload, &mut deliver);
            self.on_events(now, id, events);
        }

        fn on_events(&mut self, now: Instant, id: FlowId, events: Events) {
            let flow = self.flows[id.index()].as_mut().unwrap();
            if events.contains(Events::ESTABLISHED) && flow.was_half_open {
                flow.was_half_open = false;
                self.listener.on_established();
            }
            if events.contains(Events::PEER_FINISHED) {
                flow.connection.finish();
            }
            self.timed_out += u32::from(events.contains(Events::TIMED_OUT));
            if events.contains(Events::CLOSED) {
                let tuple = self.table.remove(id).unwrap();
                self.wheel.cancel(id.slot());
                let mut flow = self.flows[id.index()].take().unwrap();
                while let Some(outgoing) = flow.connection.poll_control(&self.config, now) {
                    self.replies.push_tcp(&flow.path, &outgoing.header);
                }
                if let Some(entry) = flow.connection.time_wait(&self.config, now) {
                    self.time_wait.insert(&tuple, entry);
                }
                if !flow.is_active {
                    self.listener.on_closed(tuple.tuple().peer.ip(), flow.was_half_open);
                }
                self.finished.push(flow.received);
            }
        }

        /// One turn without input: timers, then everything that may leave.
        fn turn(&mut self, now: Instant) -> Vec<Vec<u8>> {
            self.interface.poll(now, &mut self.replies);
            self.time_wait.expire(now);
            while let Some(slot) = self.wheel.pop(now) {
                let id = self.table.flow_at(slot).unwrap();
                let events =
                    self.flows[id.index()].as_mut().unwrap().connection.on_deadline(&self.config, now);
                self.on_events(now, id, events);
            }
            let mut frames = Vec::new();
            for (slot, flow) in (0..).zip(&mut self.flows) {
                let Some(flow) = flow else { continue };
                frames.extend(send(flow, &self.config, now));
                self.wheel.schedule(slot, flow.connection.deadline().unwrap_or(Instant::NEVER));
            }
            while let Some(reply) = self.replies.front() {
                frames.push(reply.to_vec());
                self.replies.pop();
            }
            frames
        }

        fn next_deadline(&self) -> Option<Instant> {
            [self.wheel.next_deadline(), self.interface.next_deadline(), self.time_wait.next_deadline()]
                .into_iter()
                .flatten()
                .min()
        }
    }

    fn send(flow: &mut Flow, config: &Config, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(range) = flow.connection.wanted(now, 1460) {
            flow.held.push(range);
        }
        let credit = flow.connection.credit(now);
        if flow.left > 0 && credit > 0 && credit >= flow.connection.read_threshold(flow.left) {
            let range = flow.connection.reserve(credit.min(u32::try_from(flow.left).unwrap()));
            flow.left -= range.end - range.start;
            flow.held.push(range);
            if flow.left == 0 {
                flow.connection.finish();
            }
        }
        for range in &mut flow.held {
            while let Some(outgoing) = flow.connection.transmit(now, range, u32::from(flow.connection.mss()))
            {
                frames.push(frame(&flow.path, &outgoing));
            }
        }
        flow.held.retain(|range| !range.is_empty());
        while let Some(outgoing) = flow.connection.poll_control(config, now) {
            frames.push(frame(&flow.path, &outgoing));
        }
        frames
    }

    fn frame(path: &Path, outgoing: &Outgoing) -> Vec<u8> {
        let payload: Vec<u8> = outgoing.range.clone().map(byte).collect();
        let mut frame = vec![0; 128];
        let sum = Sum::of_parts(payload.chunks(999));
        let layout = emit_tcp(&mut frame, path, &outgoing.header, payload.len(), Checksum::Software(sum));
        frame.truncate(layout.len);
        frame.extend(payload);
        assert!(frame.len() <= 1514);
        frame
    }

    /// A client and a server, and a wire of 5 ms between them that loses every `lossy`th frame.
    struct World {
        now: Instant,
        client: Host,
        server: Host,
        wire: VecDeque<(Instant, bool, Vec<u8>)>,
        sent: u32,
        lossy: u32,
    }

    impl World {
        fn new(serves: u64, half_open_max: u32, lossy: u32) -> Self {
            let now = Instant::from_nanos(1_000_000_000_000);
            Self {
                now,
                client: Host::new("192.0.2.2", 2, 0, 64, now),
                server: Host::new("192.0.2.1", 1, serves, half_open_max, now),
                wire: VecDeque::new(),
                sent: 0,
                lossy,
            }
        }

        fn step(&mut self) {
            while self.wire.front().is_some_and(|(at, _, _)| *at <= self.now) {
                let (_, to_server, frame) = self.wire.pop_front().unwrap();
                let host = if to_server { &mut self.server } else { &mut self.client };
                host.on_frame(self.now, &frame);
            }
            for (host, to_server) in [(&mut self.client, true), (&mut self.server, false)] {
                for frame in host.turn(self.now) {
                    self.sent += 1;
                    if self.lossy == 0 || !self.sent.is_multiple_of(self.lossy) {
                        self.wire.push_back((self.now + Duration::from_millis(5), to_server, frame));
                    }
                }
            }
            let arrival = self.wire.front().map(|(at, _, _)| *at);
            let next = [arrival, self.client.next_deadline(), self.server.next_deadline()]
                .into_iter()
                .flatten()
                .min();
            self.now = next.unwrap_or(self.now).max(self.now);
        }

        fn run(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) {
            for _ in 0..100_000 {
                if is_done(self) {
                    return;
                }
                self.step();
            }
            panic!("never: {what}");
        }

        fn tuple(port: u16) -> FourTuple {
            FourTuple {
                local: SocketAddr::new(IpAddr::from([192, 0, 2, 2]), port),
                peer: SocketAddr::new(IpAddr::from([192, 0, 2, 1]), PORT),
            }
        }

        fn connect(&mut self, ports: Range<u16>) {
            let server = Self::tuple(0).peer.ip();
            let mut mac = None;
            for _ in 0..1000 {
                match self.client.interface.resolve(self.now, server, &mut self.client.replies) {
                    Resolution::Known(known) => {
                        mac = Some(known);
                        break;
                    }
                    Resolution::Pending => self.step(),
                    other => panic!("{other:?}"),
                }
            }
            for port in ports {
                self.client.connect(self.now, &Self::tuple(port), mac.expect("the server answers ARP"));
            }
        }
    }

    /// Every byte of every stream arrived, everybody hung up, and nothing is left but TIME-WAIT; then not even that.
    fn is_served(serves: u64, half_open_max: u32, lossy: u32) -> World {
        let mut world = World::new(serves, half_open_max, lossy);
        world.connect(40_000..40_010);
        world.run("all connections end", |world| {
            world.client.finished.len() == 10 && world.server.finished.len() == 10
        });
        assert_eq!(world.client.finished, [serves; 10]);
        assert_eq!(
            (
                world.server.table.len(),
                world.server.listener.connections(),
                world.server.listener.half_open()
            ),
            (0, 0, 0)
        );
        assert_eq!((world.client.timed_out, world.server.timed_out), (0, 0));
        assert!(world.server.time_wait.len() > 0);
        world.run("TIME-WAIT ends", |world| world.server.time_wait.len() == 0);
        assert_eq!(world.server.wheel.len() + world.client.wheel.len(), 0);
        world
    }

    #[test]
    fn ten_clients_are_served_and_nothing_remains() {
        let world = is_served(100_000, 64, 0);
        assert_eq!(world.server.listener.counters().accepted, 10);
    }

    #[test]
    fn ten_clients_are_served_although_every_ninth_frame_is_lost() {
        is_served(100_000, 64, 9);
    }

    #[test]
    fn clients_beyond_the_backlog_are_served_by_cookie() {
        let world = is_served(20_000, 3, 0);
        let counters = world.server.listener.counters();
        assert_eq!((counters.accepted, counters.cookies_sent, counters.cookies_accepted), (3, 7, 7));
    }

    #[test]
    fn a_client_may_come_again_from_the_same_port_while_the_server_is_in_time_wait() {
        let mut world = World::new(1000, 64, 0);
        for visit in 1..=2 {
            world.connect(40_000..40_001);
            world.run("the visit ends", |world| {
                world.client.finished.len() == visit && world.server.finished.len() == visit
            });
            assert_eq!(world.server.time_wait.len(), 1);
        }
        assert_eq!(world.server.listener.counters().accepted, 2);
    }

    #[test]
    fn a_closed_port_refuses() {
        let mut world = World::new(1000, 64, 0);
        world.server.listener.close();
        world.connect(40_000..40_001);
        world.run("the refusal arrives", |world| world.client.finished.len() == 1);
        assert_eq!((world.server.listener.counters().resets, world.server.table.len()), (1, 0));
    }

    #[test]
    fn a_silent_peer_is_given_up_by_the_wheel() {
        let mut world = World::new(1000, 64, 0);
        world.connect(40_000..40_001);
        world.run("the handshake", |world| world.server.listener.half_open() == 1);
        // From here on nothing arrives any more.
        world.lossy = 1;
        world.wire.clear();
        world.run("both give up", |world| world.client.timed_out == 1 && world.server.timed_out == 1);
        assert_eq!((world.server.listener.connections(), world.server.listener.half_open()), (0, 0));
        assert_eq!(world.server.wheel.len() + world.client.wheel.len(), 0);
        assert_eq!(world.client.table.iter().count(), 0);
    }

    #[test]
    fn a_connection_in_the_table_is_the_one_its_segments_name() {
        let mut world = World::new(1_000_000, 64, 0);
        world.connect(40_000..40_003);
        world.run("three are established", |world| {
            world
                .server
                .flows
                .iter()
                .flatten()
                .filter(|flow| flow.connection.state() == State::Established)
                .count()
                == 3
        });
        for (id, tuple) in world.server.table.iter() {
            let flow = world.server.flows[id.index()].as_ref().unwrap();
            assert_eq!(flow.connection.ports(), (PORT, tuple.peer.port()));
            assert_eq!((flow.path.source, flow.path.destination), (tuple.local.ip(), tuple.peer.ip()));
        }
    }
}
