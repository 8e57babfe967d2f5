//! A response being written: prebuilt bodies whole, or records out of several of them.

use super::Response;
use crate::zone::{Node, TO_QUESTION, Variant};
use dns::header::HEADER_BYTES;
use dns::query::Question;
use dns::record::{FIXED_BYTES, leading_bytes_and_names};
use dns::{Class, Flags, Header, Name, Rcode, Rtype, name};
use wire::checksum::Sum;

/// A record's owner, as it is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'n> {
    /// The question's name.
    Question,
    /// A name that stands there in the message.
    At(usize),
    /// A name below the apex, written out; its apex is in the question.
    Below(&'n [u8]),
}

/// A section of the response; they are written in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A response being written into the caller's buffer.
pub(super) struct Reply<'o> {
    out: &'o mut [u8],
    at: usize,
    /// Where the question ends.
    body: usize,
    /// What may be written before the OPT record.
    end: usize,
    header: Header,
    /// The sum of the body, when it is known without reading it.
    body_sum: Option<Sum>,
}

/// How far a response was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    at: usize,
    header: Header,
}

/// There was no room: the response is to be truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl<'o> Reply<'o> {
    /// A response with the question as it came; a name that came with a pointer is written out, since the response's
    /// pointers lead into it.
    #[inline]
    pub(super) fn begin(
        out: &'o mut [u8],
        message: &[u8],
        header: &Header,
        question: &Question,
        name: &Name,
    ) -> Self {
        let mut reply = Self::headed(out, header);
        reply.header.qdcount = 1;
        if question.compressed {
            let mut at = HEADER_BYTES;
            // It was read once already, and is 255 bytes at most.
            let _ = name::uncompress(message, HEADER_BYTES, |label| {
                reply.out[at..at + label.len()].copy_from_slice(label);
                at += label.len();
            });
            reply.out[at..at + 4].copy_from_slice(&message[question.end - 4..question.end]);
            reply.at = HEADER_BYTES + name.len() + 4;
        } else {
            reply.out[HEADER_BYTES..question.end].copy_from_slice(&message[HEADER_BYTES..question.end]);
            reply.at = question.end;
        }
        reply.body = reply.at;
        reply
    }

    /// A response without a question.
    #[inline]
    pub(super) fn headed(out: &'o mut [u8], header: &Header) -> Self {
        let header = Header { id: header.id, flags: header.flags.of_response(), ..Header::default() };
        let end = out.len();
        Self { out, at: HEADER_BYTES, body: HEADER_BYTES, end, header, body_sum: None }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.out.len()
    }

    /// At most `limit` bytes in all, the last `reserved` of them for the OPT record.
    pub(super) fn limit(&mut self, limit: usize, reserved: usize) {
        self.end = limit.saturating_sub(reserved).max(self.at);
    }

    /// How many bytes may still be written.
    pub(super) const fn room(&self) -> usize {
        self.end - self.at
    }

    /// Everything behind the question is taken back: the client asks again over TCP.
    pub(super) fn truncate(&mut self) {
        self.at = self.body;
        self.body_sum = None;
        self.header = Header { ancount: 0, nscount: 0, arcount: 0, ..self.header };
        self.header.flags.0 |= Flags::TC;
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.header.flags.has(Flags::TC)
    }

    /// A whole answer, as it was written at load.
    #[inline]
    pub(super) fn prebuilt(&mut self, variant: &Variant<'_>) {
        let bytes = variant.body.len();
        if bytes > self.room() {
            return self.shortened(variant, 0);
        }
        self.out[self.at..self.at + bytes].copy_from_slice(variant.body);
        self.at += bytes;
        (self.header.ancount, self.header.nscount, self.header.arcount) =
            (variant.an, variant.ns, variant.ar);
        self.body_sum = Some(Sum::of_folded(variant.sum, bytes % 2 == 1));
    }

    /// A referral that was written for a name shorter by `below` bytes than the question's.
    #[inline]
    pub(super) fn referral(&mut self, variant: &Variant<'_>, below: usize) {
        if variant.body.len() > self.room() {
            return self.shortened(variant, below);
        }
        let start = self.at;
        self.prebuilt(variant);
        if below > 0 {
            self.move_pointers(start, variant, variant.body.len(), below);
        }
    }

    /// Moves the pointers of the body at `start` by `below`, and its sum with them.
    fn move_pointers(&mut self, start: usize, variant: &Variant<'_>, bytes: usize, below: usize) {
        for place in variant.moves.as_chunks::<2>().0 {
            let place = usize::from(u16::from_le_bytes(*place));
            if place >= bytes {
                break;
            }
            let pointer = &mut self.out[start + place..start + place + 2];
            let old = u16::from_be_bytes([pointer[0], pointer[1]]);
            let new = old + u16::try_from(below).unwrap_or(0);
            pointer.copy_from_slice(&new.to_be_bytes());
            self.body_sum = self.body_sum.map(|sum| sum.replace(old, new, place % 2 == 1));
        }
    }

    /// As much of an answer as must be there, without what only helps (RFC 2181 §9); or nothing, and TC.
    #[cold]
    fn shortened(&mut self, variant: &Variant<'_>, below: usize) {
        let keep = usize::from(variant.keep);
        if keep > self.room() {
            return self.truncate();
        }
        // Records of the additional section that still fit, whole.
        let start = self.at;
        let mut end = keep;
        let mut ar = variant.keep_ar;
        while let Some(next) = record_end(variant.body, end)
            && next <= self.room()
        {
            end = next;
            ar += 1;
        }
        self.out[start..start + end].copy_from_slice(&variant.body[..end]);
        self.at += end;
        self.body_sum = None;
        (self.header.ancount, self.header.nscount, self.header.arcount) = (variant.an, variant.ns, ar);
        if below > 0 {
            self.move_pointers(start, variant, end, below);
        }
    }

    /// Bytes that are a whole record, or several.
    pub(super) fn append(&mut self, section: Section, records: u16, bytes: &[u8]) -> Result<(), NoRoom> {
        if bytes.len() > self.room() {
            return Err(NoRoom);
        }
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self.count(section, records);
        Ok(())
    }

    /// How far it is written.
    pub(super) const fn mark(&self) -> Mark {
        Mark { at: self.at, header: self.header }
    }

    /// What was written since is taken back.
    pub(super) const fn back_to(&mut self, mark: Mark) {
        self.at = mark.at;
        self.header = mark.header;
    }

    fn count(&mut self, section: Section, records: u16) {
        match section {
            Section::Answer => self.header.ancount += records,
            Section::Authority => self.header.nscount += records,
            Section::Additional => self.header.arcount += records,
        }
    }

    /// The records of a variant's answer section under another owner. `apex_at` is where the zone's apex stands in the
    /// question; a `ttl_max` bounds their TTLs.
    ///
    /// Returns where the data of the first one stands.
    pub(super) fn records(
        &mut self,
        section: Section,
        variant: &Variant<'_>,
        only: Option<Rtype>,
        owner: Owner<'_>,
        apex_at: usize,
        ttl_max: u32,
    ) -> Result<usize, NoRoom> {
        let mut first_data = None;
        let mut from = 0;
        for _ in 0..variant.an {
            // Owners in answer sections are pointers of two bytes, and the records are whole: we wrote them.
            let fixed = from + 2;
            let data = fixed + FIXED_BYTES;
            let body = variant.body;
            let rtype = Rtype(u16::from_be_bytes([body[fixed], body[fixed + 1]]));
            let rdlength = usize::from(u16::from_be_bytes([body[fixed + 8], body[fixed + 9]]));
            from = data + rdlength;
            if only.is_some_and(|only| only != rtype) {
                continue;
            }
            self.owner(owner, apex_at)?;
            let ttl =
                u32::from_be_bytes([body[fixed + 4], body[fixed + 5], body[fixed + 6], body[fixed + 7]]);
            self.raw(&body[fixed..fixed + 4])?;
            self.raw(&ttl.min(ttl_max).to_be_bytes())?;
            self.raw(&body[fixed + 8..fixed + 10])?;
            first_data.get_or_insert(self.at);
            self.data(rtype, &body[data..from], apex_at)?;
            self.count(section, 1);
        }
        Ok(first_data.unwrap_or(self.at))
    }

    /// Data of a record, its pointers to the apex led to where that stands now.
    fn data(&mut self, rtype: Rtype, data: &[u8], apex_at: usize) -> Result<(), NoRoom> {
        let start = self.at;
        self.raw(data)?;
        let (leading, names) = leading_bytes_and_names(rtype);
        let mut at = leading;
        for _ in 0..names {
            while let Some(&byte) = data.get(at) {
                match byte {
                    0 => {
                        at += 1;
                        break;
                    }
                    192.. => {
                        let pointer = pointer_to(apex_at);
                        self.out[start + at..start + at + 2].copy_from_slice(&pointer);
                        at += 2;
                        break;
                    }
                    _ => at += 1 + usize::from(byte),
                }
            }
        }
        Ok(())
    }

    /// A CNAME record (RFC 6672 §2.2), and where its data stands.
    pub(super) fn cname(
        &mut self,
        owner: Owner<'_>,
        apex_at: usize,
        ttl: u32,
        target: &[u8],
    ) -> Result<usize, NoRoom> {
        self.owner(owner, apex_at)?;
        self.raw(&Rtype::CNAME.0.to_be_bytes())?;
        self.raw(&Class::IN.0.to_be_bytes())?;
        self.raw(&ttl.to_be_bytes())?;
        self.raw(&u16::try_from(target.len()).map_err(|_| NoRoom)?.to_be_bytes())?;
        let data = self.at;
        self.raw(target)?;
        self.count(Section::Answer, 1);
        Ok(data)
    }

    fn owner(&mut self, owner: Owner<'_>, apex_at: usize) -> Result<(), NoRoom> {
        match owner {
            Owner::Question => self.raw(&TO_QUESTION),
            Owner::At(at) => self.raw(&pointer_to(at)),
            Owner::Below(relative) => {
                self.raw(relative)?;
                self.raw(&pointer_to(apex_at))
            }
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        if bytes.len() > self.room() {
            return Err(NoRoom);
        }
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }

    /// A referral with more authority records, which `between` writes, before the addresses.
    pub(super) fn referral_with(
        &mut self,
        variant: &Variant<'_>,
        below: usize,
        between: impl FnOnce(&mut Self) -> Result<(), NoRoom>,
    ) -> Result<(), NoRoom> {
        let start = self.at;
        let sections = usize::from(variant.sections);
        self.append(Section::Authority, variant.ns, &variant.body[..sections])?;
        between(self)?;
        // Addresses point to names in the authority section only, which stands where it stood.
        let addresses = self.at;
        let mut from = sections;
        let mut ar = 0;
        while let Some(next) = record_end(variant.body, from) {
            let fits = self.append(Section::Additional, 1, &variant.body[from..next]).is_ok();
            if !fits && ar < variant.keep_ar {
                return Err(NoRoom);
            }
            if !fits {
                break;
            }
            (from, ar) = (next, ar + 1);
        }
        for place in variant.moves.as_chunks::<2>().0 {
            let place = usize::from(u16::from_le_bytes(*place));
            let at = match place.checked_sub(sections) {
                None => start + place,
                Some(behind) if place < from => addresses + behind,
                Some(_) => break,
            };
            let old = u16::from_be_bytes([self.out[at], self.out[at + 1]]);
            let new = old + u16::try_from(below).unwrap_or(0);
            self.out[at..at + 2].copy_from_slice(&new.to_be_bytes());
        }
        self.body_sum = None;
        Ok(())
    }

    /// A referral behind a chain: the same records, their names written out, and what `between` writes before the
    /// addresses.
    pub(super) fn chained_referral(
        &mut self,
        variant: &Variant<'_>,
        node: &Node<'_>,
        apex_at: usize,
        between: impl FnOnce(&mut Self) -> Result<(), NoRoom>,
    ) -> Result<(), NoRoom> {
        self.body_sum = None;
        // Names are read in a message as the referral was written for: the cut's name is its question.
        let mut message = vec![0_u8; HEADER_BYTES];
        message.extend_from_slice(node.name());
        message.extend_from_slice(&self.out[apex_at..self.body - 4]);
        message.extend_from_slice(&[0, 2, 0, 1]);
        let mut from = message.len();
        message.extend_from_slice(variant.body);
        for _ in 0..variant.ns {
            from = self.written_out(Section::Authority, &message, from, apex_at)?;
        }
        between(self)?;
        for index in 0..variant.ar {
            let before = self.mark();
            match self.written_out(Section::Additional, &message, from, apex_at) {
                Ok(next) => from = next,
                // RFC 9471 §2.1: glue below the cut has to be there, anything else helps.
                Err(NoRoom) if index < variant.keep_ar => return Err(NoRoom),
                Err(NoRoom) => {
                    self.back_to(before);
                    break;
                }
            }
        }
        Ok(())
    }

    /// The record at `from` of another message, whose owner the zone has, without its pointers; returns where it ends
    /// there.
    fn written_out(
        &mut self,
        section: Section,
        message: &[u8],
        from: usize,
        apex_at: usize,
    ) -> Result<usize, NoRoom> {
        let record = dns::record::Record::parse(message, from).map_err(|_| NoRoom)?;
        let (mut owner, mut data) = (Vec::new(), Vec::new());
        name::uncompress(message, from, |label| owner.extend_from_slice(label)).map_err(|_| NoRoom)?;
        dns::record::uncompress_data(message, &record, &mut data).map_err(|_| NoRoom)?;
        let apex_bytes = self.body - 4 - apex_at;
        self.owner(Owner::Below(&owner[..owner.len().saturating_sub(apex_bytes)]), apex_at)?;
        self.raw(&message[record.fixed()..record.fixed() + 8])?;
        self.raw(&u16::try_from(data.len()).map_err(|_| NoRoom)?.to_be_bytes())?;
        self.raw(&data)?;
        self.count(section, 1);
        Ok(record.end)
    }

    /// Prebuilt records whose pointers all lead to the apex: the SOA of a negative answer.
    pub(super) fn negative(
        &mut self,
        negative: &crate::zone::Negative,
        apex_at: usize,
    ) -> Result<(), NoRoom> {
        let start = self.at;
        let alone = start == self.body;
        self.append(Section::Authority, negative.count, &negative.body)?;
        let mut sum = Sum::of_folded(negative.sum, negative.body.len() % 2 == 1);
        let new = u16::from_be_bytes(pointer_to(apex_at));
        for place in &negative.moves {
            let place = usize::from(*place);
            let pointer = &mut self.out[start + place..start + place + 2];
            let old = u16::from_be_bytes([pointer[0], pointer[1]]);
            pointer.copy_from_slice(&new.to_be_bytes());
            sum = sum.replace(old, new, place % 2 == 1);
        }
        self.body_sum = alone.then_some(sum);
        Ok(())
    }

    /// Writes a name of the zone again, from a node's.
    pub(super) fn owner_of<'n>(node: &Node<'n>) -> Owner<'n> {
        Owner::Below(node.name())
    }

    /// The name that stands at `at` in what was written, pointers followed.
    pub(super) fn name_at(&self, at: usize, into: &mut Name) -> Result<(), NoRoom> {
        into.read(&self.out[..self.at], at).map(drop).map_err(|_| NoRoom)
    }

    /// The sum counts only what `prebuilt` and `negative` wrote alone.
    pub(super) fn forget_sum(&mut self) {
        self.body_sum = None;
    }

    /// The OPT record, for which room was kept.
    #[inline]
    pub(super) fn append_opt(&mut self, opt: &[u8]) {
        let end = self.at + opt.len();
        if end > self.out.len() {
            return;
        }
        self.out[self.at..end].copy_from_slice(opt);
        self.at = end;
        self.header.arcount += 1;
        if let Some(sum) = &mut self.body_sum {
            *sum = sum.then(opt);
        }
    }

    #[inline]
    pub(super) fn finish(mut self, rcode: Rcode, authoritative: bool) -> Response {
        let bits = if authoritative { Flags::AA } else { 0 };
        self.header.flags = self.header.flags.with(bits, rcode);
        self.out[..HEADER_BYTES].copy_from_slice(&self.header.emit());
        let sum = match self.body_sum {
            Some(body) => Sum::of(&self.out[..self.body]).combine(body),
            None => Sum::of(&self.out[..self.at]),
        };
        Response { bytes: self.at, sum }
    }
}

/// Where the record at `at` of a body ends; nothing when there is none.
fn record_end(body: &[u8], at: usize) -> Option<usize> {
    let mut fixed = at;
    loop {
        match *body.get(fixed)? {
            0 => {
                fixed += 1;
                break;
            }
            192.. => {
                fixed += 2;
                break;
            }
            label => fixed += 1 + usize::from(label),
        }
    }
    let length = body.get(fixed + 8..fixed + 10)?;
    Some(fixed + FIXED_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]])))
}

/// A pointer to a place that pointers reach.
pub(super) fn pointer_to(at: usize) -> [u8; 2] {
    let at = u16::try_from(at).unwrap_or(0).min(0x3fff);
    (0xc000 | at).to_be_bytes()
}

/// Whether a pointer reaches it.
pub(super) const fn is_reachable(at: usize) -> bool {
    at < 0x4000
}
