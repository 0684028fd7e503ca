/* SPDX-License-Identifier: MIT */
/* list.c -- the intrusive list, against an array that does the same by hand. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define NODES 20
#define STEPS 20000

struct row { /* the reference: node numbers in order */
	unsigned at[NODES];
	unsigned n;
};

static struct list nodes[NODES];
static struct list lists[2];
static struct row rows[2];

static void row_remove(unsigned node)
{
	for (unsigned r = 0; r < 2; r++) {
		for (unsigned i = 0; i < rows[r].n; i++) {
			if (rows[r].at[i] != node)
				continue;
			memmove(&rows[r].at[i], &rows[r].at[i + 1],
				(rows[r].n - i - 1) * sizeof(unsigned));
			rows[r].n--;
		}
	}
}

static void same(void)
{
	for (unsigned r = 0; r < 2; r++) {
		struct list *node = lists[r].next;

		cr_assert(list_empty(&lists[r]) == (rows[r].n == 0));
		for (unsigned i = 0; i < rows[r].n; i++, node = node->next) {
			cr_assert(node == &nodes[rows[r].at[i]]);
			cr_assert(node->next->prev == node && node->prev->next == node);
		}
		cr_assert(node == &lists[r], "longer than it should be");
	}
}

static void step(unsigned what, unsigned which, unsigned node)
{
	struct row *row = &rows[which];

	switch (what) {
	case 0:
	case 1:
		list_remove(&nodes[node]);
		row_remove(node);
		list_push_back(&lists[which], &nodes[node]);
		row->at[row->n++] = node;
		break;
	case 2:
		list_remove(&nodes[node]);
		row_remove(node);
		break;
	case 3:
		if (row->n == 0)
			break;
		cr_assert(list_pop_front(&lists[which]) == &nodes[row->at[0]]);
		row_remove(row->at[0]);
		break;
	default:
		list_splice_back(&lists[which], &lists[!which]);
		while (rows[!which].n > 0) {
			unsigned moved = rows[!which].at[0];

			row_remove(moved);
			row->at[row->n++] = moved;
		}
	}
}

Test(list, random_steps_against_an_array)
{
	srandom(2);
	list_init(&lists[0]);
	list_init(&lists[1]);
	for (unsigned i = 0; i < NODES; i++)
		list_init(&nodes[i]);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned what = (unsigned)random() % 20;

		step(what < 16       ? what / 4
			: what == 16 ? 4
				     : 0,
			(unsigned)random() % 2, (unsigned)random() % NODES);
		same();
	}
}

Test(list, popping_from_an_empty_list, .signal = SIGABRT)
{
	struct list list;

	list_init(&list);
	list_pop_front(&list);
}
