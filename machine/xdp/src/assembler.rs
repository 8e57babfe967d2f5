//! Instructions of eBPF (RFC 9669), with names for registers, and labels for jumps forward.
//!
//! ```text
//!   0        1             2          4          8
//!   | opcode | src4 | dst4 | offset16 | imm32    |      little-endian; the load of a map's address takes two
//! ```
//!
//! Only what the steering program needs is here.

/// A register. `R10` is the frame pointer and is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much a load or a store moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Half,
    Word,
    Double,
}

impl Width {
    /// The size bits of an opcode (RFC 9669 §5).
    const fn bits(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }
}

/// A helper of the kernel's, by number (linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helper {
    MapLookup = 1,
    RedirectMap = 51,
}

/// A place in the code, to be bound later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// One slot of code.
pub(crate) type Slot = [u8; 8];

/// Code under construction. `M` names the maps that it uses.
#[derive(Debug)]
pub(crate) struct Assembler<M> {
    slots: Vec<Slot>,
    /// Where each label was bound.
    labels: Vec<Option<usize>>,
    /// Jumps, and where they go.
    jumps: Vec<(usize, Label)>,
    maps: Vec<(usize, M)>,
}

/// Complete code, but for the maps' descriptors.
#[derive(Debug)]
pub(crate) struct Code<M> {
    slots: Vec<Slot>,
    maps: Vec<(usize, M)>,
}

const LDX: u8 = 0x61;
const STX: u8 = 0x63;
const LD_IMM64: u8 = 0x18;
/// The source of a 64-bit immediate: it is a map's descriptor, which the kernel turns into the map's address.
const PSEUDO_MAP_FD: u8 = 1;
const MOV_IMM: u8 = 0xb7;
const MOV: u8 = 0xbf;
const ADD_IMM: u8 = 0x07;
const AND_IMM: u8 = 0x57;
const SHL_IMM: u8 = 0x67;
const OR: u8 = 0x4f;
const JUMP: u8 = 0x05;
const JUMP_EQUAL_IMM: u8 = 0x15;
const JUMP_NOT_EQUAL_IMM: u8 = 0x55;
const JUMP_GREATER: u8 = 0x2d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

impl<M: Copy> Assembler<M> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), labels: Vec::new(), jumps: Vec::new(), maps: Vec::new() }
    }

    /// A place that is not known yet.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The place is here.
    ///
    /// # Panics
    /// It was somewhere else before.
    pub(crate) fn bind(&mut self, label: Label) {
        let place = &mut self.labels[label.0];
        assert!(place.is_none(), "a label is bound once");
        *place = Some(self.slots.len());
    }

    fn emit(&mut self, opcode: u8, dst: Register, src: Register, offset: i16, imm: i32) {
        let [offset_low, offset_high] = offset.to_le_bytes();
        let [a, b, c, d] = imm.to_le_bytes();
        self.slots.push([opcode, (src as u8) << 4 | dst as u8, offset_low, offset_high, a, b, c, d]);
    }

    /// `dst = *(src + offset)`
    pub(crate) fn load(&mut self, width: Width, dst: Register, src: Register, offset: i16) {
        self.emit(LDX | width.bits(), dst, src, offset, 0);
    }

    /// `*(dst + offset) = src`
    pub(crate) fn store(&mut self, width: Width, dst: Register, offset: i16, src: Register) {
        self.emit(STX | width.bits(), dst, src, offset, 0);
    }

    /// `dst = value`
    pub(crate) fn set(&mut self, dst: Register, value: i32) {
        self.emit(MOV_IMM, dst, Register::R0, 0, value);
    }

    /// `dst = src`
    pub(crate) fn copy(&mut self, dst: Register, src: Register) {
        self.emit(MOV, dst, src, 0, 0);
    }

    /// `dst += value`
    pub(crate) fn add(&mut self, dst: Register, value: i32) {
        self.emit(ADD_IMM, dst, Register::R0, 0, value);
    }

    /// `dst &= mask`, the mask's sign extended
    pub(crate) fn and(&mut self, dst: Register, mask: i32) {
        self.emit(AND_IMM, dst, Register::R0, 0, mask);
    }

    /// `dst <<= bits`
    pub(crate) fn shift_left(&mut self, dst: Register, bits: i32) {
        self.emit(SHL_IMM, dst, Register::R0, 0, bits);
    }

    /// `dst |= src`
    pub(crate) fn or(&mut self, dst: Register, src: Register) {
        self.emit(OR, dst, src, 0, 0);
    }

    fn jump_to(&mut self, opcode: u8, dst: Register, src: Register, imm: i32, label: Label) {
        self.jumps.push((self.slots.len(), label));
        self.emit(opcode, dst, src, 0, imm);
    }

    /// `goto label`
    pub(crate) fn jump(&mut self, label: Label) {
        self.jump_to(JUMP, Register::R0, Register::R0, 0, label);
    }

    /// `if dst == value goto label`
    pub(crate) fn jump_equal(&mut self, dst: Register, value: i32, label: Label) {
        self.jump_to(JUMP_EQUAL_IMM, dst, Register::R0, value, label);
    }

    /// `if dst != value goto label`
    pub(crate) fn jump_not_equal(&mut self, dst: Register, value: i32, label: Label) {
        self.jump_to(JUMP_NOT_EQUAL_IMM, dst, Register::R0, value, label);
    }

    /// `if dst > src goto label`, unsigned
    pub(crate) fn jump_greater(&mut self, dst: Register, src: Register, label: Label) {
        self.jump_to(JUMP_GREATER, dst, src, 0, label);
    }

    /// `dst = map`
    pub(crate) fn load_map(&mut self, dst: Register, map: M) {
        self.maps.push((self.slots.len(), map));
        self.slots.push([LD_IMM64, PSEUDO_MAP_FD << 4 | dst as u8, 0, 0, 0, 0, 0, 0]);
        self.slots.push([0; 8]);
    }

    /// `R0 = helper(R1, …)`; R1 to R5 hold nothing afterwards
    pub(crate) fn call(&mut self, helper: Helper) {
        self.emit(CALL, Register::R0, Register::R0, 0, helper as i32);
    }

    /// `return R0`
    pub(crate) fn exit(&mut self) {
        self.emit(EXIT, Register::R0, Register::R0, 0, 0);
    }

    /// The code, with its jumps resolved.
    ///
    /// # Panics
    /// A label was never bound, or a jump goes back or too far.
    pub(crate) fn finish(mut self) -> Code<M> {
        for (at, label) in &self.jumps {
            let target = self.labels[label.0].expect("a label that is jumped to is bound");
            let distance = target.checked_sub(at + 1).expect("jumps go forward: the program ends");
            let distance = i16::try_from(distance).expect("a jump within 32,767 slots");
            self.slots[*at][2..4].copy_from_slice(&distance.to_le_bytes());
        }
        Code { slots: self.slots, maps: self.maps }
    }
}

impl<M: Copy> Code<M> {
    /// The code with `descriptor` of each map written into it.
    pub(crate) fn link(&self, descriptor: impl Fn(M) -> i32) -> Vec<Slot> {
        let mut slots = self.slots.clone();
        for (at, map) in &self.maps {
            slots[*at][4..].copy_from_slice(&descriptor(*map).to_le_bytes());
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::Register::{R1, R2, R7, R10};
    use super::*;

    fn only(build: impl FnOnce(&mut Assembler<u8>)) -> Slot {
        let mut assembler = Assembler::new();
        build(&mut assembler);
        assembler.finish().link(|_| 0)[0]
    }

    #[test]
    fn instructions_are_encoded_as_rfc_9669_draws_them() {
        assert_eq!(only(|a| a.load(Width::Word, R2, R1, 4)), [0x61, 0x12, 4, 0, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.load(Width::Half, R2, R7, 12)), [0x69, 0x72, 12, 0, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.load(Width::Byte, R2, R7, 9)), [0x71, 0x72, 9, 0, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.load(Width::Double, R2, R7, 24)), [0x79, 0x72, 24, 0, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.store(Width::Word, R10, -4, R2)), [0x63, 0x2a, 0xfc, 0xff, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.store(Width::Double, R10, -16, R2)), [0x7b, 0x2a, 0xf0, 0xff, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.set(R1, -1)), [0xb7, 1, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(only(|a| a.copy(R7, R2)), [0xbf, 0x27, 0, 0, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.add(R7, 14)), [0x07, 7, 0, 0, 14, 0, 0, 0]);
        assert_eq!(only(|a| a.and(R7, 0xff3f)), [0x57, 7, 0, 0, 0x3f, 0xff, 0, 0]);
        assert_eq!(only(|a| a.shift_left(R7, 16)), [0x67, 7, 0, 0, 16, 0, 0, 0]);
        assert_eq!(only(|a| a.or(R7, R2)), [0x4f, 0x27, 0, 0, 0, 0, 0, 0]);
        assert_eq!(only(|a| a.call(Helper::RedirectMap)), [0x85, 0, 0, 0, 51, 0, 0, 0]);
        assert_eq!(only(Assembler::exit), [0x95, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_jump_counts_from_the_slot_behind_it() {
        let mut a: Assembler<u8> = Assembler::new();
        let end = a.label();
        a.jump_equal(R1, 7, end);
        a.load_map(R1, 3);
        a.jump(end);
        a.bind(end);
        a.exit();
        let slots = a.finish().link(|map| i32::from(map) + 40);
        assert_eq!(slots[0], [0x15, 1, 3, 0, 7, 0, 0, 0]);
        assert_eq!(slots[1], [0x18, 0x11, 0, 0, 43, 0, 0, 0]);
        assert_eq!(slots[3], [0x05, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "jumps go forward")]
    fn a_jump_back_is_refused() {
        let mut a: Assembler<u8> = Assembler::new();
        let start = a.label();
        a.bind(start);
        a.jump(start);
        let _ = a.finish();
    }
}
