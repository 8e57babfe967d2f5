//! Everything a worker counts, in one copy.

use ::platform::{Link, LinkCounters};
use control::{Figure, Figures, Latency};
use core::time::Duration;
use dma::{FramesInUse, Pool};

use super::{Tenant, WorkerEngine};

/// As they were when the worker told them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters<C> {
    /// The engine's.
    pub engine: turn::Counters,
    /// The IP stack's.
    pub stack: stack::Counters,
    /// The listener's.
    pub listen: stack::ListenCounters,
    /// The link's.
    pub link: LinkCounters,
    /// The service's.
    pub service: C,
    /// Frames that are out.
    pub frames: FramesInUse,
    /// Large frames there are.
    pub frames_all: u32,
    /// How long busy turns took.
    pub latency: Latency,
    /// Times that the worker slept.
    pub sleeps: u64,
    /// How long it was awake in all.
    pub awake: Duration,
    /// Reports that control had no room for.
    pub reports_dropped: u64,
}

impl<C> Counters<C> {
    /// Copies what the others have counted so far.
    pub(super) fn take<T: Tenant<Counters = C>>(
        &mut self,
        engine: &WorkerEngine<T>,
        pool: &Pool,
        reports_dropped: u64,
    ) {
        self.engine = engine.counters();
        self.stack = engine.stack_counters();
        self.listen = engine.listen_counters();
        self.link = engine.link().counters();
        self.service = T::counters(engine.service());
        self.frames = pool.in_use();
        self.frames_all = pool.layout().large_count;
        self.reports_dropped = reports_dropped;
    }
}

impl<C: Figures> Figures for Counters<C> {
    fn visit(&self, visit: &mut dyn FnMut(Figure)) {
        let Self {
            engine,
            stack,
            listen,
            link,
            service,
            frames,
            frames_all,
            latency,
            sleeps,
            awake,
            reports_dropped,
        } = self;
        visit_engine(engine, visit);
        for (kind, value) in [("large", frames.large), ("small", frames.small)] {
            visit(Figure::gauge("frames_in_use", "Frames that are out", value.into()).labelled("kind", kind));
        }
        for (kind, value) in [("large", frames.large_max), ("small", frames.small_max)] {
            visit(
                Figure::gauge(
                    "frames_in_use_max",
                    "The most frames that were ever out at once",
                    value.into(),
                )
                .labelled("kind", kind),
            );
        }
        visit(Figure::gauge("frames", "Large frames there are", (*frames_all).into()));
        for (label, rank) in [("0.5", 0.5), ("0.99", 0.99), ("1", 1.0)] {
            let duration = latency.quantile(rank).unwrap_or_default().as_secs_f64();
            visit(
                Figure::ratio("turn_seconds", "How long busy turns took since the start", duration)
                    .labelled("quantile", label),
            );
        }
        visit(Figure::counter("sleeps", "Times the worker slept", *sleeps));
        visit(Figure::ratio("awake_seconds", "How long the worker was awake in all", awake.as_secs_f64()));
        visit(Figure::counter("reports_dropped", "Reports that control had no room for", *reports_dropped));
        let LinkCounters { received, received_bytes, sent, sent_bytes, send_errors, receive_errors } = *link;
        for (name, help, value) in [
            ("link_received_packets", "Packets received, merged ones counted once", received),
            ("link_received_bytes", "Bytes received", received_bytes),
            ("link_sent_packets", "Packets sent, superframes counted once", sent),
            ("link_sent_bytes", "Bytes sent, headers and all", sent_bytes),
            ("link_send_errors", "Packets that the device refused or dropped", send_errors),
            ("link_receive_errors", "Packets that arrived damaged or too large", receive_errors),
        ] {
            visit(Figure::counter(name, help, value));
        }
        visit_stack(stack, visit);
        visit_listen(listen, visit);
        service.visit(visit);
    }
}

fn visit_engine(counters: &turn::Counters, visit: &mut dyn FnMut(Figure)) {
    // In full, so that nothing is counted and not shown; frames and durations are shown from closer by.
    let turn::Counters {
        turns,
        turns_busy,
        turn_us_log2: _,
        accepted,
        connections,
        finished,
        failed,
        tag_mismatches,
        disk_failures,
        tls_failures,
        handshakes,
        resumptions,
        plain_to_tls,
        reads,
        reads_done,
        reads_took_us,
        reads_in_flight,
        read_bytes,
        sealed_records,
        sealed_bytes,
        key_updates,
        sent_bytes,
        resent_bytes,
        packets,
        copied_packets,
        replica_packets,
        received_bytes,
        frame_waits,
        disk_waits,
        surrendered_bytes,
        link_waits,
        link_losses,
        link_loss_drops,
        mtu_changes,
        files_open,
        opens,
        frames_large: _,
        frames_large_max: _,
        frames_small: _,
        frames_small_max: _,
    } = *counters;
    for (name, help, value) in [
        ("turns", "Turns of the wheel", turns),
        ("turns_busy", "Turns in which something happened", turns_busy),
        ("connections_accepted", "Connections accepted", accepted),
        ("connections_finished", "Connections that ended in order", finished),
        ("connections_failed", "Connections that ended otherwise", failed),
        (
            "tag_mismatches",
            "Connections reset because a file changed between two sealings of a record",
            tag_mismatches,
        ),
        ("disk_failures", "Connections ended because the disk failed or a file shrank", disk_failures),
        ("tls_failures", "Connections ended because the peer broke TLS", tls_failures),
        ("handshakes", "TLS handshakes completed", handshakes),
        ("resumptions", "TLS handshakes resumed from a ticket", resumptions),
        ("plain_to_tls", "Plain HTTP that arrived at the TLS port", plain_to_tls),
        ("disk_reads", "Reads handed to the disk", reads),
        ("disk_reads_done", "Reads that came back from the disk", reads_done),
        ("disk_reads_microseconds", "How long those were on their way, all together", reads_took_us),
        ("disk_read_bytes", "Bytes read from the disk", read_bytes),
        ("sealed_records", "TLS records sealed", sealed_records),
        ("sealed_bytes", "Bytes sealed", sealed_bytes),
        ("key_updates", "TLS key updates of our own", key_updates),
        ("sent_bytes", "Stream bytes sent for the first time", sent_bytes),
        ("resent_bytes", "Stream bytes sent again", resent_bytes),
        ("packets", "Packets handed to the link", packets),
        ("packets_copied", "Packets with memory copied for them", copied_packets),
        ("packets_replicated", "Packets with memory in a replica of theirs", replica_packets),
        ("received_bytes", "Stream bytes received in order", received_bytes),
        ("surrendered_bytes", "Bytes read that the window no longer let out", surrendered_bytes),
        ("link_waits", "Times the link's queue was full", link_waits),
        ("link_losses", "Times the link lost its carrier or its device", link_losses),
        ("link_loss_drops", "Packets that were not sent because the link carried nothing", link_loss_drops),
        ("link_mtu_changes", "Times the link's MTU changed", mtu_changes),
        ("file_opens", "Files opened", opens),
    ] {
        visit(Figure::counter(name, help, value));
    }
    for (lack, value) in [("frame", frame_waits), ("disk", disk_waits)] {
        let help = "Times a connection had credit and could not read, by what there was none of";
        visit(Figure::counter("credit_waits", help, value).labelled("lack", lack));
    }
    visit(Figure::gauge("disk_reads_in_flight", "Reads on their way now", reads_in_flight.into()));
    visit(Figure::gauge("connections", "Connections now", connections.into()));
    visit(Figure::gauge("files_open", "Files open now", files_open.into()));
}

fn visit_stack(counters: &stack::Counters, visit: &mut dyn FnMut(Figure)) {
    let stack::Counters {
        frames,
        tcp,
        neighbour_answers,
        echo_answers,
        address_conflicts,
        path_mtu,
        unreachable,
        malformed,
        other_mac,
        other_vlan,
        other_address,
        spoofed,
        fragments,
        protocol,
        kernels,
        unquoted,
        rate_limited,
        outbox_full,
    } = *counters;
    for (name, help, value) in [
        ("ip_frames", "Frames of every kind", frames),
        ("ip_tcp_segments", "TCP segments, merged ones counted once", tcp),
        ("ip_neighbour_answers", "ARP and neighbour questions answered", neighbour_answers),
        ("ip_echo_answers", "Echo requests answered", echo_answers),
        ("ip_address_conflicts", "Packets of somebody who uses one of our addresses", address_conflicts),
        ("ip_path_mtu", "ICMP messages that a packet was too big", path_mtu),
        ("ip_unreachable", "ICMP messages that a peer cannot be reached", unreachable),
    ] {
        visit(Figure::counter(name, help, value));
    }
    let help = "Frames dropped, by reason";
    for (reason, value) in [
        ("other_mac", other_mac),
        ("other_vlan", other_vlan),
        ("other_address", other_address),
        ("spoofed", spoofed),
        ("fragment", fragments),
        ("protocol", protocol),
        ("kernels", kernels),
        ("unquoted", unquoted),
        ("rate_limited", rate_limited),
        ("outbox_full", outbox_full),
    ] {
        visit(Figure::counter("ip_dropped", help, value).labelled("reason", reason));
    }
    for (kind, value) in wire::Malformed::ALL.iter().zip(malformed) {
        visit(Figure::counter("ip_dropped", help, value).labelled("reason", kind.label()));
    }
}

fn visit_listen(counters: &stack::ListenCounters, visit: &mut dyn FnMut(Figure)) {
    let stack::ListenCounters {
        accepted,
        cookies_sent,
        cookies_accepted,
        resets,
        ignored,
        resets_limited,
        connections_full,
        peer_limit,
        backlog_full,
    } = *counters;
    for (name, help, value) in [
        ("syns_accepted", "SYNs that became half-open connections", accepted),
        (
            "syn_cookies_sent",
            "SYNs answered with a cookie, because too many connections were half open",
            cookies_sent,
        ),
        ("syn_cookies_accepted", "Connections made of a cookie that came back", cookies_accepted),
        ("resets_to_strangers", "Resets sent to segments of no connection", resets),
    ] {
        visit(Figure::counter(name, help, value));
    }
    let help = "Segments of no connection that were not answered, by reason";
    for (reason, value) in [
        ("connections_full", connections_full),
        ("peer_limit", peer_limit),
        ("backlog_full", backlog_full),
        ("resets_limited", resets_limited),
        ("ignored", ignored),
    ] {
        visit(Figure::counter("strangers_refused", help, value).labelled("reason", reason));
    }
}
