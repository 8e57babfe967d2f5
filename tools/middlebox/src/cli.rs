//! The command line, and its manual.

use clap::Parser;
use middlebox::{Burst, Config, Police, Probability, Profile, Rate, Reorder};

use crate::device::DeviceName;
use crate::error::ProgramError;
use crate::values::{self, BandList, Ways};

const ABOUT: &str = "A long and imperfect path between two devices";

const LONG_ABOUT: &str = "\
Middlebox forwards Ethernet frames between two devices, as a cable would, and makes the way from client to server long: \
every flow is delayed by a constant time, drawn by the hash of its addresses and ports from the bands of --delay. \
Packets of a flow keep their order.

What the path does besides is chosen by options: it loses, duplicates and reorders packets, is narrow, or polices. \
Everything is drawn from --seed. ARP is forwarded at once and unharmed.

Superframes (TSO, GRO) pass whole as long as nothing happens to single packets, and are cut first otherwise. Those of \
more than 64 KiB (BIG TCP) leave as several.

With several workers nothing is shared: a flow stays with one of them, memory, rate, queue and policer are divided \
evenly, so that --rate is the width of all flows together and a single flow gets its worker's share.";

const AFTER_LONG: &str = "\
DEVICES
  NAME, packet:NAME   An interface that exists and is up. It should have no address here, or the kernel answers beside
                      the far end. VLAN tags stay.
  tap:NAME            A TAP device that is made, brought up, and gone afterwards: the kernel is at its other end.
  xdp:NAME            An interface that exists and is up, through AF_XDP: nothing of it reaches the kernel meanwhile. For
                      small packets on NICs; there are no superframes. It must deliver VLAN tags within frames and finished
                      checksums (ethtool -K NAME rxvlan off; at the far end of a veth pair, ethtool -K PEER tx off).

  Both devices should have the same MTU. A real interface should not merge more than it can cut (ethtool -K NAME lro off).

EXAMPLES
  Clients behind eth1, a server behind eth2, delays of the dissertation:
    middlebox --client eth1 --server eth2

  Near and far clients, three in four of them near; one packet in a hundred is lost on the way to them:
    middlebox --client eth1 --server eth2 --delay 5ms..15ms*3,80ms --loss 1% --on to-client

  An access line, with a buffer of 100 ms:
    middlebox --client eth1 --server eth2 --rate 100mbit --queue 1.25MB --on to-client

SIGNALS
  SIGINT, SIGTERM     Print the totals and leave. What is held is dropped. Devices are as they were, however it ends.

EXIT STATUS
  0   It was told to leave, and left.
  1   It failed while it ran.
  2   It could not start: one line says why and what to do about it.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "middlebox", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER_LONG,
    max_term_width = 120
)]
pub(crate) struct Cli {
    /// The device towards clients
    #[arg(long, value_name = "DEV")]
    pub(crate) client: DeviceName,
    /// The device towards the server
    #[arg(long, value_name = "DEV")]
    pub(crate) server: DeviceName,
    /// The delays of flows from client to server: times or ranges, each with a weight (*N) if they are not alike
    #[arg(long, value_name = "BANDS", default_value = "10ms..40ms")]
    delay: BandList,
    /// Delay both directions, each by the flow's time
    #[arg(long)]
    both: bool,
    /// Lose this share of packets, one by one
    #[arg(long, value_name = "SHARE", value_parser = values::share)]
    loss: Option<Probability>,
    /// Lose packets in bursts: one begins at a packet with probability ENTER and ends with LEAVE; BAD is lost within
    /// [100%], GOOD outside [0%]
    #[arg(long, value_name = "ENTER:LEAVE[:BAD[:GOOD]]", value_parser = values::burst)]
    burst: Option<Burst>,
    /// Send this share of packets twice
    #[arg(long, value_name = "SHARE", value_parser = values::share)]
    duplicate: Option<Probability>,
    /// Hold this share of packets back for a time, so that others overtake them
    #[arg(long, value_name = "SHARE:TIME", value_parser = values::reorder)]
    reorder: Option<Reorder>,
    /// Let packets through one after the other, at this many bits per second
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    rate: Option<u64>,
    /// How many bytes may wait before the bottleneck of --rate
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "1MB", requires = "rate")]
    queue: u64,
    /// Drop what exceeds this rate, beyond bursts of this size [64KB]
    #[arg(long, value_name = "RATE[:BURST]", value_parser = values::police)]
    police: Option<Police>,
    /// Where loss, duplication, reordering, rate and policer act
    #[arg(long, value_name = "WAYS", default_value = "both")]
    on: Ways,
    /// Draws delays and faults: the same seed, the same path
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads, each with queues of its own; a flow stays on one of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: u16,
    /// Memory for packets that wait, all workers together
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "256MiB")]
    memory: u64,
    /// Print a line a second
    #[arg(long)]
    pub(crate) stats: bool,
    /// Print every line as a JSON object: what is forwarded, the totals so far with --stats, the totals at the end
    #[arg(long)]
    pub(crate) json: bool,
}

impl Cli {
    /// What each worker does.
    ///
    /// # Errors
    /// The operator asks for what cannot be.
    pub(crate) fn configs(&self) -> Result<Vec<Config>, ProgramError> {
        if self.client == self.server {
            return Err(ProgramError::SameDevice { name: self.client.to_string() });
        }
        let memory_bytes = usize::try_from(self.memory).unwrap_or(usize::MAX) / usize::from(self.workers);
        let [to_server, to_client] =
            [Ways::ToServer, Ways::ToClient].map(|way| self.profile(way).shares(self.workers));
        Ok((0_u64..)
            .zip(to_server.into_iter().zip(to_client))
            .map(|(stream, (to_server, to_client))| Config {
                seed: self.seed,
                stream,
                to_server,
                to_client,
                memory_bytes,
            })
            .collect())
    }

    /// One direction.
    fn profile(&self, way: Ways) -> Profile {
        let delay = (self.both || way == Ways::ToServer).then(|| self.delay.0.clone());
        if self.on != Ways::Both && self.on != way {
            return Profile { delay, ..Profile::default() };
        }
        Profile {
            delay,
            loss: self.loss.unwrap_or_default(),
            burst: self.burst,
            duplicate: self.duplicate.unwrap_or_default(),
            reorder: self.reorder,
            rate: self.rate.map(|rate| Rate { bits_per_second: rate, queue_bytes: self.queue }),
            police: self.police,
        }
    }

    /// The path in a few words.
    pub(crate) fn path(&self) -> String {
        let per_packet = [Ways::ToServer, Ways::ToClient].map(|way| self.profile(way).is_per_packet());
        let faults = match per_packet {
            [true, true] => "; faults both ways",
            [true, false] => "; faults to the server",
            [false, true] => "; faults to the client",
            [false, false] => "",
        };
        let ways = if self.both { "both ways" } else { "to the server" };
        format!("delay {} {ways}{faults}; seed {}; workers {}", self.delay, self.seed, self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const DEVICES: [&str; 5] = ["middlebox", "--client", "a", "--server", "tap:b"];

    fn parse(options: &[&str]) -> Cli {
        Cli::try_parse_from(DEVICES.iter().chain(options)).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let manual = Cli::command().render_long_help().to_string();
        for part in ["DEVICES", "EXAMPLES", "SIGNALS", "EXIT STATUS", "[default: 10ms..40ms]"] {
            assert!(manual.contains(part), "{part}");
        }
    }

    #[test]
    fn devices_alone_make_the_path_of_the_dissertation() {
        let configs = parse(&[]).configs().unwrap();
        assert_eq!(configs, [Config { memory_bytes: 256 << 20, ..Config::default() }]);
    }

    #[test]
    fn faults_act_where_they_are_wanted() {
        let config = |on| parse(&["--loss", "1%", "--on", on]).configs().unwrap().remove(0);
        let per_packet = |on| [config(on).to_server, config(on).to_client].map(|way| way.is_per_packet());
        assert_eq!(per_packet("both"), [true, true]);
        assert_eq!(per_packet("to-server"), [true, false]);
        assert_eq!(per_packet("to-client"), [false, true]);
        assert!(parse(&["--both"]).configs().unwrap()[0].to_client.delay.is_some());
    }

    #[test]
    fn workers_share_memory_and_seed_but_no_faults() {
        let configs = parse(&["--workers", "4", "--seed", "9"]).configs().unwrap();
        assert!(configs.iter().all(|config| (config.seed, config.memory_bytes) == (9, 64 << 20)));
        assert_eq!(configs.iter().map(|config| config.stream).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn workers_divide_rate_queue_and_burst_without_a_rest() {
        let options = ["--workers", "3", "--rate", "100mbit", "--queue", "100KB", "--police", "1gbit:64KB"];
        let configs = parse(&options).configs().unwrap();
        let sum = |of: fn(&Profile) -> u64| configs.iter().map(|config| of(&config.to_client)).sum::<u64>();
        assert_eq!(sum(|way| way.rate.unwrap().bits_per_second), 100_000_000);
        assert_eq!(sum(|way| way.rate.unwrap().queue_bytes), 100_000);
        assert_eq!(sum(|way| way.police.unwrap().bits_per_second), 1_000_000_000);
        assert_eq!(sum(|way| way.police.unwrap().burst_bytes), 64_000);
        assert!(configs.iter().all(|config| config.to_server.rate.unwrap().bits_per_second >= 33_333_333));
    }

    #[test]
    fn what_cannot_be_is_said_in_one_line() {
        let same = Cli::try_parse_from(["middlebox", "--client", "a", "--server", "packet:a"]).unwrap();
        assert!(same.configs().unwrap_err().to_string().contains("two devices"));
        for options in [["--client", "udp:a"], ["--queue", "1MB"], ["--workers", "0"]] {
            assert!(Cli::try_parse_from(DEVICES.iter().chain(&options)).is_err(), "{options:?}");
        }
    }
}
