/* SPDX-License-Identifier: Apache-2.0 */
/* Linked with one whole room and the rooms it may call: proof that it calls no other. */
int main(void)
{
	return 0;
}
