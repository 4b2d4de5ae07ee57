/* quant/qat_net.h: a folded list that computes in floats what the integer model will compute:
 * behind every tensor that a layer, an addition or a pool reads stands a FAKE_QUANT, and they read
 * that. */
#pragma once
#include "nn/net.h"

/* The list with its FAKE_QUANTs (scale 1, zero 0: to be set), and no dropout. Entries, the places
 * of their values and the numbers of the folded list's tensors stay; the rounded ones come behind
 * them. The input has none: who makes batches rounds them. ERR_CONFIG: quant_check_list. The caller
 * destroys. */
err_t quant_qat_net(nn_net_t **net, const nn_net_t *folded);
