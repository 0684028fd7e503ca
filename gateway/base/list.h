/* SPDX-License-Identifier: MIT */
/* list.h -- intrusive doubly linked list; a node that is in no list points at itself. */
#ifndef POSTERN_BASE_LIST_H
#define POSTERN_BASE_LIST_H

#include "base/base.h"

struct list {
	struct list *prev;
	struct list *next;
};

static inline void list_init(struct list *list)
{
	list->prev = list;
	list->next = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_push_back(struct list *list, struct list *node)
{
	node->prev = list->prev;
	node->next = list;
	list->prev->next = node;
	list->prev = node;
}

/* Safe on a node that is in no list, provided list_init was called on it once. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* Takes the first node off; the list must not be empty. */
static inline struct list *list_pop_front(struct list *list)
{
	struct list *node = list->next;

	ASSERT(node != list);
	list_remove(node);
	return node;
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void list_splice_back(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#endif
