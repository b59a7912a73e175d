//! Rows of the log as they were asked.

use model::{AnswerFrom, QueryClient, QueryDecider, QueryFilter, QueryPage, QueryRow, QueryType, Timestamp};
use rusqlite::Row;
use std::collections::HashMap;

use crate::{
    Result,
    kind::{ByKind, Kind},
    read::{Ids, Reader, Walk},
};

/// A row as it is in the file.
struct Raw {
    id: i64,
    client: u32,
    name: u32,
    kind: u32,
    qtype: u16,
    micros: u32,
    upstream: u32,
    list: u32,
    number: i64,
    alias: u32,
}

/// What rows must have, as numbers.
struct Wanted {
    clients: Option<Ids>,
    names: Option<Ids>,
    upstream: Option<u32>,
    blocked: bool,
    from: Option<AnswerFrom>,
    qtype: Option<u16>,
    code: Option<model::AnswerCode>,
}

/// The rows that a filter asks for. When time is over, the page has what was found and says where to go on.
pub(crate) fn page(reader: &Reader, filter: &QueryFilter) -> Result<QueryPage> {
    let most = filter.limit.unwrap_or(QueryFilter::ROWS).clamp(1, QueryFilter::MOST_ROWS) as usize;
    let mut page = QueryPage::default();
    reader.walk_all("SELECT min(id) FROM queries", [], |row| {
        page.kept_since = row.get::<_, Option<i64>>(0)?.map(Timestamp);
        Ok(())
    })?;
    let upstream = filter.upstream.as_deref().map(|upstream| reader.word_id(upstream)).transpose()?;
    if upstream == Some(None) {
        return Ok(page);
    }
    let wanted = Wanted {
        clients: filter.client.as_deref().map(|client| reader.clients_like(client)).transpose()?,
        names: filter.name.as_deref().map(|name| reader.names_like(name)).transpose()?,
        upstream: upstream.flatten(),
        blocked: filter.blocked,
        from: filter.from,
        qtype: filter.qtype.map(|qtype| qtype.0),
        code: filter.code,
    };
    let id = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    let after = filter.after.map(|after| id(after).saturating_add(1));
    let low = filter.since.map_or(i64::MIN, |since| since.0).max(after.unwrap_or(i64::MIN));
    let high = filter.until.map_or(i64::MAX, |until| until.0).min(filter.before.map_or(i64::MAX, id));
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT id, client, name, kind, qtype, micros, upstream, list, number, alias FROM queries
         WHERE id >= ?1 AND id < ?2 ORDER BY id {order}"
    );
    let (mut found, mut last) = (Vec::new(), None);
    let whole = reader.walk(&sql, [low, high], |row| {
        last = Some(row.get::<_, i64>(0)?);
        if wanted.has(row)? {
            found.push(Raw::read(row)?);
        }
        Ok(if found.len() >= most { Walk::End } else { Walk::On })
    })?;
    if !whole || found.len() >= most {
        page.next = last.map(i64::cast_unsigned);
    }
    let mut texts = Texts { reader, names: HashMap::new(), clients: HashMap::new(), words: HashMap::new() };
    page.rows = found.iter().map(|raw| texts.row(raw)).collect::<Result<_>>()?;
    Ok(page)
}

impl Wanted {
    fn has(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        let in_set = |set: &Option<Ids>, column| match set {
            Some(set) => row.get(column).map(|id| set.contains(id)),
            None => Ok(true),
        };
        if !in_set(&self.clients, 1)? || !in_set(&self.names, 2)? {
            return Ok(false);
        }
        let kind = Kind::unpack(row.get(3)?);
        Ok((!self.blocked || kind.from == AnswerFrom::Sinkhole)
            && self.from.is_none_or(|from| from == kind.from)
            && self.code.is_none_or(|code| code == kind.code)
            && match self.qtype {
                Some(qtype) => row.get::<_, u16>(4)? == qtype,
                None => true,
            }
            && match self.upstream {
                Some(upstream) => row.get::<_, u32>(6)? == upstream,
                None => true,
            })
    }
}

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            client: row.get(1)?,
            name: row.get(2)?,
            kind: row.get(3)?,
            qtype: row.get(4)?,
            micros: row.get(5)?,
            upstream: row.get(6)?,
            list: row.get(7)?,
            number: row.get(8)?,
            alias: row.get(9)?,
        })
    }
}

/// Texts of a page, each read once.
struct Texts<'a> {
    reader: &'a Reader,
    names: HashMap<u32, Option<String>>,
    clients: HashMap<u32, QueryClient>,
    words: HashMap<u32, Option<String>>,
}

impl Texts<'_> {
    fn row(&mut self, raw: &Raw) -> Result<QueryRow> {
        let kind = Kind::unpack(raw.kind);
        let list = |texts: &mut Self, allow| -> Result<Option<QueryDecider>> {
            let line = u32::try_from(raw.number).unwrap_or_default();
            Ok(texts.word(raw.list)?.map(|list| QueryDecider::List { list, line, allow }))
        };
        let decision = |allow| Some(QueryDecider::Decision { id: raw.number.cast_unsigned(), allow });
        let by = match kind.by {
            ByKind::Nobody => None,
            ByKind::ListBlocks => list(self, false)?,
            ByKind::ListAllows => list(self, true)?,
            ByKind::DecisionBlocks => decision(false),
            ByKind::DecisionAllows => decision(true),
            ByKind::Rebinding => Some(QueryDecider::Rebinding),
        };
        Ok(QueryRow {
            id: raw.id.cast_unsigned(),
            at: Timestamp(raw.id),
            client: self.client(raw.client)?,
            name: self.name(raw.name)?,
            qtype: QueryType(raw.qtype),
            code: kind.code,
            action: kind.action,
            from: kind.from,
            upstream: self.word(raw.upstream)?,
            by,
            alias: self.name(raw.alias)?,
            secure: kind.secure,
            micros: raw.micros,
        })
    }

    fn name(&mut self, id: u32) -> Result<Option<String>> {
        let reader = self.reader;
        known(&mut self.names, id, || reader.name(id))
    }

    fn word(&mut self, id: u32) -> Result<Option<String>> {
        let reader = self.reader;
        known(&mut self.words, id, || reader.word(id))
    }

    fn client(&mut self, id: u32) -> Result<QueryClient> {
        let reader = self.reader;
        known(&mut self.clients, id, || reader.client(id))
    }
}

fn known<T: Clone>(texts: &mut HashMap<u32, T>, id: u32, read: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(text) = texts.get(&id) {
        return Ok(text.clone());
    }
    let text = read()?;
    texts.insert(id, text.clone());
    Ok(text)
}
