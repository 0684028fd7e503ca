/* SPDX-License-Identifier: MIT */
/*
 * histogram_table.h -- every histogram, once: HISTOGRAM(NAME, metric, scale, help). No include
 * guard, as counter_table.h.
 */
/* clang-format off */
HISTOGRAM(SPOOL_COMMIT_US, "postern_spool_commit_seconds", 1e-6, "From the end of a message to its commit.")
HISTOGRAM(SPOOL_BATCH, "postern_spool_batch_messages", 1, "Messages made durable by one sync.")
HISTOGRAM(RELAY_DELIVERY_MS, "postern_relay_delivery_seconds", 1e-3, "From a message's commit to a recipient's delivery.")
/* clang-format on */
