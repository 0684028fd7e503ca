/* SPDX-License-Identifier: MIT */
/* The probe's conclusions, on scripted kernels; the real ones are probed in the VM. */
#include "rig.h"

#include <errno.h>

#include <criterion/criterion.h>

/* The probe's calls, in order. */
enum { ULP, TX, RX, NO_PAD, TX_AGAIN, RX_AGAIN, NONE = -1 };

static struct tls_kernel probe(int fail_at, int error)
{
	struct tls_kernel kernel;

	rig_setsockopt(fail_at, error);
	memset(&kernel, 0xff, sizeof(kernel.why));
	tls_kernel_probe(&kernel);
	return kernel;
}

Test(kernel, a_kernel_that_can_everything)
{
	struct tls_kernel kernel = probe(NONE, 0);

	cr_assert(kernel.tx && kernel.rx && kernel.rekey && kernel.no_pad);
	cr_assert(!kernel.rx_spins_on_partial);
	cr_assert_str_eq(kernel.why, "");
}

Test(kernel, what_is_missing_is_said)
{
	struct tls_kernel kernel = probe(ULP, ENOENT);

	cr_assert(!kernel.tx && !kernel.rx && !kernel.rekey);
	cr_assert(strstr(kernel.why, "modprobe tls") != NULL, "%s", kernel.why);
	kernel = probe(ULP, ENOPROTOOPT);
	cr_assert(!kernel.tx && strstr(kernel.why, "TCP_ULP") != NULL);
	kernel = probe(TX, EINVAL);
	cr_assert(!kernel.tx && !kernel.rx && strstr(kernel.why, "TLS_TX") != NULL);
	kernel = probe(RX, EINVAL);
	cr_assert(kernel.tx && !kernel.rx && !kernel.rekey);
	kernel = probe(NO_PAD, ENOPROTOOPT);
	cr_assert(kernel.tx && kernel.rx && !kernel.no_pad && kernel.rekey);
	kernel = probe(TX_AGAIN, EBUSY);
	cr_assert(kernel.tx && kernel.rx && !kernel.rekey);
	kernel = probe(RX_AGAIN, EBUSY);
	cr_assert(kernel.tx && kernel.rx && !kernel.rekey);
}

Test(kernel, the_running_kernel_is_probed_without_harm)
{
	struct tls_kernel kernel;

	tls_setsockopt_for_test(NULL);
	tls_kernel_probe(&kernel);
	cr_assert(kernel.tx || kernel.why[0] != '\0');
	cr_assert(kernel.tx || (!kernel.rx && !kernel.rekey && !kernel.no_pad));
}
