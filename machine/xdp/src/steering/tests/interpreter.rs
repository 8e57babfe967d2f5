//! The part of RFC 9669 that the program uses, run one slot at a time over a packet and maps.
//!
//! It is strict where the kernel's verifier is: no load outside of the packet, the stack or a map's value, no use of
//! what a call clobbered, an end within a bounded number of steps.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use super::super::program::{Map, SOLICITED_NODE, UNICAST, assemble, port_key, solicited_node};
use super::{Scope, Transport, Verdict};
use crate::assembler::Slot;

const CONTEXT: u64 = 0x1_0000;
const PACKET: u64 = 0x10_0000;
const STACK_TOP: u64 = 0x20_0000;
const STACK_BYTES: usize = 512;
const VALUE: u64 = 0x30_0000;
const CLOBBERED: u64 = 0xdead_dead_dead_dead;
const STEPS_MAX: usize = 1_000;

/// A program and its maps.
pub(super) struct Machine {
    code: Vec<Slot>,
    entries: BTreeMap<(i32, Vec<u8>), u8>,
    sockets: Vec<u32>,
}

fn number(map: Map) -> i32 {
    match map {
        Map::Sockets => 11,
        Map::V4 => 12,
        Map::V6 => 13,
        Map::Ports => 14,
    }
}

impl Machine {
    pub(super) fn new(scope: Scope) -> Self {
        Self { code: assemble(scope).link(number), entries: BTreeMap::new(), sockets: Vec::new() }
    }

    fn with(mut self, map: Map, key: &[u8], value: u8) -> Self {
        self.entries.insert((number(map), key.to_vec()), value);
        self
    }

    pub(super) fn with_v4(self, address: Ipv4Addr) -> Self {
        self.with(Map::V4, &address.octets(), UNICAST)
    }

    pub(super) fn with_v6(self, address: Ipv6Addr) -> Self {
        let group = solicited_node(address).octets();
        self.with(Map::V6, &address.octets(), UNICAST).with(Map::V6, &group, SOLICITED_NODE)
    }

    pub(super) fn with_port(self, transport: Transport, port: u16) -> Self {
        self.with(Map::Ports, &port_key(transport.number(), port), 1)
    }

    pub(super) fn with_socket(mut self, queue: u32) -> Self {
        self.sockets.push(queue);
        self
    }

    /// Runs the program over a packet that arrived on queue 0.
    pub(super) fn run(&self, packet: &[u8]) -> Verdict {
        let mut run = Run {
            machine: self,
            packet,
            stack: [0; STACK_BYTES],
            value: 0,
            registers: [CLOBBERED; 11],
            next: 0,
        };
        run.registers[1] = CONTEXT;
        run.registers[10] = STACK_TOP;
        for _ in 0..STEPS_MAX {
            if let Some(verdict) = run.step() {
                return match verdict {
                    2 => Verdict::Pass,
                    4 => Verdict::Redirect,
                    other => Verdict::Other(other.try_into().unwrap()),
                };
            }
        }
        panic!("no end after {STEPS_MAX} steps");
    }
}

struct Run<'a> {
    machine: &'a Machine,
    packet: &'a [u8],
    stack: [u8; STACK_BYTES],
    /// What the last look-up found.
    value: u8,
    registers: [u64; 11],
    next: usize,
}

impl Run<'_> {
    /// The bytes of memory at an address.
    fn bytes(&self, address: u64, len: usize) -> Vec<u8> {
        let within = |start: u64, bytes: &[u8]| {
            let at = usize::try_from(address.checked_sub(start)?).ok()?;
            bytes.get(at..at + len).map(<[u8]>::to_vec)
        };
        let packet_end = PACKET + self.packet.len() as u64;
        let context =
            [PACKET.to_le_bytes()[..4].to_vec(), packet_end.to_le_bytes()[..4].to_vec(), vec![0; 16]];
        within(CONTEXT, &context.concat())
            .or_else(|| within(PACKET, self.packet))
            .or_else(|| within(STACK_TOP - STACK_BYTES as u64, &self.stack))
            .or_else(|| within(VALUE, &[self.value]))
            .unwrap_or_else(|| panic!("slot {}: a load of {len} bytes at {address:#x}", self.next - 1))
    }

    fn load(&self, address: u64, len: usize) -> u64 {
        let mut bytes = self.bytes(address, len);
        bytes.resize(8, 0);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    fn store(&mut self, address: u64, len: usize, value: u64) {
        let at = usize::try_from(address - (STACK_TOP - STACK_BYTES as u64)).unwrap();
        self.stack[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    }

    fn call(&mut self, helper: i32) {
        let map = i32::try_from(self.registers[1]).unwrap();
        let result = match helper {
            1 => {
                let key_bytes = if map == number(Map::V6) { 16 } else { 4 };
                let key = self.bytes(self.registers[2], key_bytes);
                self.machine.entries.get(&(map, key)).map_or(0, |value| {
                    self.value = *value;
                    VALUE
                })
            }
            51 => {
                assert_eq!(map, number(Map::Sockets));
                let queue = u32::try_from(self.registers[2]).unwrap();
                if self.machine.sockets.contains(&queue) { 4 } else { self.registers[3] & 3 }
            }
            other => panic!("helper {other}"),
        };
        self.registers[0] = result;
        self.registers[1..=5].fill(CLOBBERED);
    }

    /// One slot. Returns what the program returns.
    fn step(&mut self) -> Option<u64> {
        let [opcode, registers, offset_low, offset_high, imm @ ..] = self.machine.code[self.next];
        self.next += 1;
        let (dst, src) = (usize::from(registers & 15), usize::from(registers >> 4));
        let offset = i16::from_le_bytes([offset_low, offset_high]);
        let imm = i32::from_le_bytes(imm);
        let wide = i64::from(imm).cast_unsigned();
        let source = self.registers[src];
        let target = self.registers[dst];
        let width = match opcode & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        };
        let mut jump = |taken: bool| {
            if taken {
                self.next += usize::try_from(offset).unwrap();
            }
        };
        match opcode {
            0x61 | 0x69 | 0x71 | 0x79 => {
                let address = source.wrapping_add_signed(offset.into());
                self.registers[dst] = self.load(address, width);
            }
            0x63 | 0x6b | 0x73 | 0x7b => self.store(target.wrapping_add_signed(offset.into()), width, source),
            0xb7 => self.registers[dst] = wide,
            0xbf => self.registers[dst] = source,
            0x07 => self.registers[dst] = target.wrapping_add(wide),
            0x57 => self.registers[dst] = target & wide,
            0x67 => self.registers[dst] = target << imm,
            0x4f => self.registers[dst] = target | source,
            0x05 => jump(true),
            0x15 => jump(target == wide),
            0x55 => jump(target != wide),
            0x2d => jump(target > source),
            0x18 => {
                assert_eq!(src, 1, "a map's descriptor");
                self.registers[dst] = wide;
                self.next += 1;
            }
            0x85 => self.call(imm),
            0x95 => return Some(self.registers[0]),
            other => panic!("opcode {other:#x}"),
        }
        None
    }
}
