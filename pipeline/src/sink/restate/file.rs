//! A file of a KPI table, read column by column.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, PrimitiveArray, RecordBatchReader, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, TimestampMillisecondType};
use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{Group, Grouping};
use contactflow_schemas::symbol::Symbol;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

/// Why a file cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It is no Parquet file, or damaged.
    #[error("Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// A column cannot be read as numbers.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A key column is not as the table has it.
    #[error("column {0} is missing or of another type")]
    Column(&'static str),
}

/// One value in every row of a column, told by its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    Null,
    Zero,
}

/// An opened file: its footer is read, its columns are not.
pub(super) struct KpiFile {
    body: Bytes,
    metadata: ArrowReaderMetadata,
    /// Columns by name; tables are flat, so a column is a leaf.
    leaves: HashMap<String, usize>,
}

impl KpiFile {
    pub(super) fn open(body: Bytes) -> Result<Self, ReadError> {
        // The embedded Arrow schema repeats every description and says nothing that is needed here.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&body, options)?;
        let columns = metadata.parquet_schema().columns().iter().enumerate();
        let leaves = columns.map(|(leaf, column)| (column.name().to_owned(), leaf)).collect();
        Ok(Self { body, metadata, leaves })
    }

    pub(super) fn leaf(&self, name: &str) -> Option<usize> {
        self.leaves.get(name).copied()
    }

    pub(super) fn rows(&self) -> usize {
        usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The columns, in the order asked for.
    pub(super) fn read(&self, leaves: &[usize]) -> Result<Vec<ArrayRef>, ReadError> {
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), leaves.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.body.clone(), self.metadata.clone());
        let reader = builder.with_projection(mask).with_batch_size(self.rows().max(1)).build()?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        let batch = concat_batches(&schema, &batches)?;
        // A projection keeps the order of the file.
        let mut ascending = leaves.to_vec();
        ascending.sort_unstable();
        ascending.dedup();
        let rank = |leaf| ascending.binary_search(leaf).unwrap_or(0);
        Ok(leaves.iter().map(|leaf| batch.columns()[rank(leaf)].clone()).collect())
    }

    /// The columns as numbers, in the order asked for.
    pub(super) fn read_numbers(&self, leaves: &[usize]) -> Result<Vec<Float64Array>, ReadError> {
        let number = |array: ArrayRef| Ok(cast(&array, &DataType::Float64)?.as_primitive::<Float64Type>().clone());
        self.read(leaves)?.into_iter().map(number).collect()
    }

    /// The columns that tell the rows apart.
    pub(super) fn read_keys(&self, grouping: Grouping) -> Result<Keys, ReadError> {
        let names = KeyNames::of(grouping);
        let leaf = |name: &'static str| self.leaf(name).ok_or(ReadError::Column(name));
        let leaves = names.all().map(leaf).collect::<Result<Vec<_>, _>>()?;
        let mut columns = names.all().zip(self.read(&leaves)?);
        let mut next = || columns.next().ok_or(ReadError::Column("tenant_id"));
        Ok(Keys {
            tenant: texts(next()?)?,
            member: names.member.map(|_| texts(next()?)).transpose()?,
            channel: names.channel.map(|_| texts(next()?)).transpose()?,
            start: times(next()?)?,
            end: times(next()?)?,
            grouping,
        })
    }

    /// What stands in every row of the column, where the footer tells.
    pub(super) fn blank(&self, leaf: usize) -> Option<Blank> {
        let mut blanks = self.chunks(leaf).map(blank);
        let first = blanks.next()??;
        blanks.all(|blank| blank == Some(first)).then_some(first)
    }

    /// True when a column of this file and one of `other` are stored as the same bytes, and so hold the same values.
    pub(super) fn is_stored_alike(&self, leaf: usize, other: &Self, other_leaf: usize) -> bool {
        let same = |(ours, theirs): (&ColumnChunkMetaData, &ColumnChunkMetaData)| {
            ours.column_type() == theirs.column_type()
                && ours.compression() == theirs.compression()
                && ours.num_values() == theirs.num_values()
                && self.bytes_of(ours).is_some_and(|bytes| Some(bytes) == other.bytes_of(theirs))
        };
        self.row_groups().len() == other.row_groups().len() && self.chunks(leaf).zip(other.chunks(other_leaf)).all(same)
    }

    fn row_groups(&self) -> &[RowGroupMetaData] {
        self.metadata.metadata().row_groups()
    }

    fn chunks(&self, leaf: usize) -> impl Iterator<Item = &ColumnChunkMetaData> {
        self.row_groups().iter().map(move |group| group.column(leaf))
    }

    fn bytes_of(&self, chunk: &ColumnChunkMetaData) -> Option<&[u8]> {
        let (start, length) = chunk.byte_range();
        let start = usize::try_from(start).ok()?;
        self.body.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    }
}

fn blank(chunk: &ColumnChunkMetaData) -> Option<Blank> {
    let statistics = chunk.statistics()?;
    let nulls = i64::try_from(statistics.null_count_opt()?).ok()?;
    if nulls == chunk.num_values() {
        return Some(Blank::Null);
    }
    let is_zero = match statistics {
        Statistics::Int64(values) => values.min_opt() == Some(&0) && values.max_opt() == Some(&0),
        Statistics::Double(values) => values.min_opt() == Some(&0.0) && values.max_opt() == Some(&0.0),
        _ => false,
    };
    (is_zero && nulls == 0).then_some(Blank::Zero)
}

type Named = (&'static str, ArrayRef);

fn texts((name, array): Named) -> Result<StringArray, ReadError> {
    array.as_string_opt::<i32>().cloned().ok_or(ReadError::Column(name))
}

fn times((name, array): Named) -> Result<PrimitiveArray<TimestampMillisecondType>, ReadError> {
    array.as_primitive_opt::<TimestampMillisecondType>().cloned().ok_or(ReadError::Column(name))
}

/// Names of the columns that tell the rows of a KPI table apart, and of the end of the window.
pub(super) struct KeyNames {
    member: Option<&'static str>,
    channel: Option<&'static str>,
}

impl KeyNames {
    pub(super) fn of(grouping: Grouping) -> Self {
        let member = match grouping {
            Grouping::AgentChannel | Grouping::Agent => Some("agent_id"),
            Grouping::TeamChannel => Some("team_id"),
            Grouping::QueueChannel => Some("queue_id"),
            Grouping::Channel | Grouping::Tenant => None,
        };
        Self { member, channel: grouping.by_channel().then_some("channel") }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'static str> + use<> {
        let names = [Some("tenant_id"), self.member, self.channel, Some("window_start"), Some("window_end")];
        names.into_iter().flatten()
    }
}

/// A row's key: tenant, agent, team or queue, channel, start of the window.
pub(super) type Key<'a> = (&'a str, Option<&'a str>, Option<&'a str>, TimeMs);

/// The key columns of a file.
#[derive(PartialEq)]
pub(super) struct Keys {
    tenant: StringArray,
    member: Option<StringArray>,
    channel: Option<StringArray>,
    start: PrimitiveArray<TimestampMillisecondType>,
    end: PrimitiveArray<TimestampMillisecondType>,
    grouping: Grouping,
}

fn part(array: &Option<StringArray>, row: usize) -> Option<&str> {
    array.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.start.len()
    }

    pub(super) fn key(&self, row: usize) -> Key<'_> {
        (self.tenant.value(row), part(&self.member, row), part(&self.channel, row), self.start_ms(row))
    }

    pub(super) fn start_ms(&self, row: usize) -> TimeMs {
        self.start.value(row)
    }

    pub(super) fn end_ms(&self, row: usize) -> TimeMs {
        self.end.value(row)
    }

    pub(super) fn group(&self, row: usize) -> Group {
        let (tenant, member, channel, _) = self.key(row);
        let member = member.map(Symbol::new);
        let of = |groupings: &[Grouping]| member.filter(|_| groupings.contains(&self.grouping));
        Group {
            tenant: Symbol::new(tenant),
            channel: channel.map(Symbol::new),
            agent: of(&[Grouping::AgentChannel, Grouping::Agent]),
            team: of(&[Grouping::TeamChannel]),
            queue: of(&[Grouping::QueueChannel]),
        }
    }
}
