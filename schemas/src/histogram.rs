//! Log-linear histogram buckets over non-negative integers (the layout of HdrHistogram, with integer arithmetic only).
//!
//! Values below 64 have a bucket each; above, every power of two is cut into 64 equal buckets. The middle of a bucket
//! is within 2^-7 = 0.78 % of every value in it. Buckets are plain counters, so histograms add, subtract and merge.

/// Sub-buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 6;
const SUB_BUCKETS: u64 = 1 << PRECISION_BITS;

/// The largest relative error of [`bucket_middle`] for the values of a bucket.
pub const RELATIVE_ERROR_MAX: f64 = 1.0 / 128.0;

/// The bucket that holds `value`.
pub fn bucket_of(value: u64) -> u64 {
    if value < SUB_BUCKETS {
        return value;
    }
    let exponent = 63 - value.leading_zeros();
    let sub = (value >> (exponent - PRECISION_BITS)) & (SUB_BUCKETS - 1);
    u64::from(exponent - PRECISION_BITS + 1) * SUB_BUCKETS + sub
}

/// The middle of a bucket, rounded down.
pub fn bucket_middle(bucket: u64) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let lower = (SUB_BUCKETS + bucket % SUB_BUCKETS) << shift;
    let width = 1u64 << shift;
    lower + (width - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_near_the_middle_of_its_bucket() {
        let mut value = 0u64;
        while value < 1 << 43 {
            let middle = bucket_middle(bucket_of(value));
            let error = middle.abs_diff(value) as f64;
            assert!(error <= value as f64 * RELATIVE_ERROR_MAX, "{value} -> {middle}");
            assert_eq!(bucket_of(middle), bucket_of(value));
            value += 1 + value / 97;
        }
    }

    #[test]
    fn buckets_are_ordered_like_values() {
        let buckets: Vec<u64> = (0..100_000).map(bucket_of).collect();
        assert!(buckets.is_sorted());
    }
}
